//! Playing in a window.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bevy::app::TerminalCtrlCHandlerPlugin;
use bevy::log::{DEFAULT_FILTER, LogPlugin};
use bevy::prelude::*;
use bevy::render::RenderPlugin;
use bevy::render::view::screenshot::{Screenshot, ScreenshotCaptured, save_to_disk};
use bevy::time::TimeUpdateStrategy;
use bevy::window::{PresentMode, WindowMode, WindowResized, WindowResolution};
use bevy::winit::WinitSettings;
use bevy_traversal_overlay::OverlayPlugin;

use crate::app::measures;
use crate::bench::{BenchPlugin, PartsPlugin};
use crate::bots::{BrainPlugin, Crew, CrewPlugin};
use crate::chat::Prepared;
use crate::cli::Cli;
use crate::embedded::{Embedded, Practice};
use crate::flow::{FlowPlugin, LogsInAtOnce, Referee, Seed, StopPlugin};
use crate::gamepad::GamepadPlugin;
use crate::input::InputPlugin;
use crate::net::systems::{NetPlugin, PlayerName};
use crate::scene::Scene;
use crate::screens::{Form, Screen, ScreenName, ScreensPlugin, autostart};
use crate::session::{Goal, Profile, Session};
use crate::settings::{Settings, SettingsPlugin, known_servers, settings_file};
use crate::showcase::ShowcasePlugin;
use crate::sim::Phase;
use crate::traversal_glue::GluePlugin;
use crate::view::ViewPlugin;

/// In pictures of made-up screens a frame takes so long in the game's time, however long the machine takes for it: the same
/// seed gives the same picture.
const FRAME: Duration = Duration::from_millis(50);

/// A frame was shown: from here on a panic is a bug of the game, not a machine without graphics.
pub static SHOWN: AtomicBool = AtomicBool::new(false);

/// Checks whether there is a display to open a window on.
///
/// # Errors
/// A sentence for the player.
pub fn display() -> Result<(), String> {
    // Systems whose windows are X11's or Wayland's; macOS, iOS, Android and Windows have their own.
    #[cfg(any(
        target_os = "linux",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "dragonfly"
    ))]
    {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if cfg!(feature = "wayland") && set("WAYLAND_DISPLAY") {
            return Ok(());
        }
        if !set("DISPLAY") {
            return Err(String::from("DISPLAY is not set"));
        }
        x11rb::rust_connection::RustConnection::connect(None).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Opens the window and plays until it is closed.
pub fn run(cli: &Cli, profile: Profile, goal: Goal, embedded: Option<Embedded>, seed: u64) -> AppExit {
    // Pictures show the game as it comes, not as somebody has set it.
    let file = settings_file().filter(|_| cli.screen.is_none());
    let (settings, note) = file.as_deref().map(Settings::read).unwrap_or_default();
    if let Some(note) = note {
        println!("arena: {note}");
    }
    let full_screen = settings.full_screen && cli.size.is_none();
    let (width, height) = cli.size.unwrap_or(settings.window);
    let mut resolution = WindowResolution::new(width, height);
    if cli.size.is_some() {
        // Pixels are pixels, whatever the desktop's scale.
        resolution = resolution.with_scale_factor_override(1.0);
    }
    let window = Window {
        title: String::from("Arena"),
        name: Some(String::from("arena")),
        resolution,
        present_mode: PresentMode::AutoVsync,
        mode: mode(full_screen),
        ..Default::default()
    };
    let still = cli.screen.is_some() && cli.screenshot.is_some();
    let filter = format!("{DEFAULT_FILTER},warn,arena=info");
    let plugins = DefaultPlugins
        .set(WindowPlugin { primary_window: Some(window), ..Default::default() })
        .set(LogPlugin { filter, ..Default::default() })
        // A picture has all that its frame has: nothing is left out because it is still being compiled.
        .set(RenderPlugin { synchronous_pipeline_compilation: still, ..Default::default() })
        .disable::<TerminalCtrlCHandlerPlugin>();
    let bots = usize::from(cli.bots);
    let note = embedded.as_ref().map(Embedded::note).unwrap_or_default();
    let form = Form {
        name: profile.name.clone(),
        server: profile.server.clone(),
        password: cli.password.as_deref().cloned().unwrap_or_default(),
        bots: if bots > 0 { bots } else { Form::default().bots },
        points: cli.points,
        note,
        settings: settings.clone(),
        ..Default::default()
    };
    let mut app = App::new();
    app.add_plugins(plugins)
        .insert_resource(PlayerName(profile.name.clone()))
        .insert_resource(profile)
        .insert_resource(Seed(seed))
        .insert_resource(form)
        .insert_resource(Practice::with(embedded))
        .insert_resource(WinitSettings::continuous()) // others wait for our inputs, focused or not
        .add_plugins((NetPlugin, ScreensPlugin, ViewPlugin, StopPlugin))
        .add_plugins(SettingsPlugin { settings, file })
        .add_systems(Update, fill_screen)
        .add_systems(Last, || SHOWN.store(true, Ordering::Relaxed));
    if let Some(screen) = cli.screen {
        app.add_plugins(ShowcasePlugin { screen });
    } else {
        app.add_plugins((GluePlugin(known_servers()), FlowPlugin, CrewPlugin, OverlayPlugin::default()));
        app.insert_resource(LogsInAtOnce).insert_resource(Prepared(cli.say.clone()));
        app.insert_resource(Referee {
            rounds: cli.rounds,
            print: cli.rounds.is_some(),
            ..Default::default()
        });
        app.insert_resource(Crew::wanting(bots));
        autostart(&mut app, goal);
    }
    // Pictures and measurements are made in silence.
    #[cfg(feature = "sound")]
    if cli.screen.is_none() && cli.screenshot.is_none() && !measures(cli) {
        app.add_plugins(crate::sound::SoundPlugin);
    }
    if cli.autoplay || matches!(cli.screen, Some(ScreenName::Game | ScreenName::Chat)) {
        app.add_plugins(BrainPlugin { seed });
    } else {
        app.add_plugins(InputPlugin);
        // Pictures are of what the game shows by itself.
        if cli.screen.is_none() {
            app.add_plugins(GamepadPlugin);
        }
    }
    if let Some(file) = cli.screenshot.clone() {
        let Cli { after, in_match, linger, .. } = *cli;
        let (patience, state) = (f32::from(cli.patience), PictureState::Waiting);
        app.insert_resource(Picture { file, after, in_match, linger, patience, state })
            .add_systems(Update, take_picture);
    }
    if still {
        app.insert_resource(TimeUpdateStrategy::ManualDuration(FRAME));
    }
    if let Some(frames) = cli.bench_frames {
        app.add_plugins(BenchPlugin { frames });
    }
    if let Some(frames) = cli.bench_parts {
        app.add_plugins(PartsPlugin { frames });
    }
    app.run()
}

fn mode(full_screen: bool) -> WindowMode {
    match full_screen {
        true => WindowMode::BorderlessFullscreen(MonitorSelection::Current),
        false => WindowMode::Windowed,
    }
}

/// F11 fills the screen, or no longer; the size of the window is kept otherwise.
fn fill_screen(
    keys: Res<ButtonInput<KeyCode>>,
    mut form: ResMut<Form>,
    mut resized: MessageReader<WindowResized>,
    mut windows: Query<&mut Window>,
    mut before: Local<Option<bool>>,
) {
    if keys.just_pressed(KeyCode::F11) {
        form.settings.full_screen = !form.settings.full_screen;
    }
    let Ok(mut window) = windows.single_mut() else { return };
    let wanted = form.settings.full_screen;
    if before.replace(wanted).is_some_and(|before| before != wanted) {
        window.mode = mode(wanted);
    }
    let sizes = resized.read().last().filter(|_| window.mode == WindowMode::Windowed && !wanted);
    if let Some(size) = sizes.map(|size| (size.width as u32, size.height as u32))
        && form.settings.window != size
    {
        form.settings.window = size;
    }
}

#[derive(Resource)]
struct Picture {
    file: PathBuf,
    after: f32,
    in_match: bool,
    linger: f32,
    patience: f32,
    state: PictureState,
}

/// Times are seconds since the start of the program.
#[derive(Clone, Copy, Debug)]
enum PictureState {
    Waiting,
    /// The value holds for this moment.
    Set(f32),
    Asked,
    Taken,
    Done(f32),
}

fn take_picture(
    mut commands: Commands,
    time: Res<Time<Real>>,
    scene: Res<Scene>,
    screen: Res<State<Screen>>,
    session: Option<Res<Session>>,
    mut picture: ResMut<Picture>,
    mut exit: MessageWriter<AppExit>,
) {
    let now = time.elapsed_secs();
    match picture.state {
        PictureState::Waiting if !picture.in_match => picture.state = PictureState::Set(picture.after),
        PictureState::Waiting
            if *screen.get() == Screen::Game && matches!(scene.phase, Some(Phase::Playing { .. })) =>
        {
            picture.state = PictureState::Set(now + picture.after);
        }
        PictureState::Set(at) if now >= at => {
            picture.state = PictureState::Asked;
            // An old picture must not pass for the new one.
            let _ = std::fs::remove_file(&picture.file);
            commands.spawn(Screenshot::primary_window()).observe(save_to_disk(picture.file.clone())).observe(
                |_: On<ScreenshotCaptured>, mut picture: ResMut<Picture>| {
                    picture.state = PictureState::Taken;
                },
            );
        }
        // Written before the observers returned, unless it could not be.
        PictureState::Taken if picture.file.exists() => {
            picture.state = PictureState::Done(now + picture.linger);
        }
        PictureState::Taken => {
            eprintln!("arena: the picture could not be written to {}", picture.file.display());
            exit.write(AppExit::error());
        }
        PictureState::Done(at) if now >= at => {
            exit.write(AppExit::Success);
        }
        PictureState::Done(_) => {}
        PictureState::Waiting | PictureState::Set(_) | PictureState::Asked => {
            if now > picture.after + picture.patience {
                let story = session.map(|session| session.story.join(" ")).unwrap_or_default();
                let state = &picture.state;
                eprintln!("arena: no picture could be taken ({state:?} on {:?}). {story}", screen.get());
                exit.write(AppExit::error());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f11_fills_the_screen_and_back_and_keeps_the_windows_size() {
        let mut app = App::new();
        app.init_resource::<ButtonInput<KeyCode>>()
            .init_resource::<Form>()
            .add_message::<WindowResized>()
            .add_systems(Update, fill_screen);
        let window = app.world_mut().spawn(Window::default()).id();
        app.update();
        let press = |app: &mut App, size: (f32, f32)| {
            app.world_mut().resource_mut::<ButtonInput<KeyCode>>().press(KeyCode::F11);
            app.update();
            app.world_mut().resource_mut::<ButtonInput<KeyCode>>().reset(KeyCode::F11);
            app.world_mut().write_message(WindowResized { window, width: size.0, height: size.1 });
            app.update();
            let kept = app.world().resource::<Form>().settings.clone();
            (app.world().get::<Window>(window).unwrap().mode, kept.full_screen, kept.window)
        };
        let (mode, full, size) = press(&mut app, (1920.0, 1080.0));
        assert!(matches!(mode, WindowMode::BorderlessFullscreen(_)) && full);
        assert_eq!(size, (1280, 720), "the screen's size is not the window's");
        assert_eq!(press(&mut app, (800.0, 600.0)), (WindowMode::Windowed, false, (800, 600)));
    }
}

//! The command line.

use std::path::PathBuf;

use bevy_traversal::Secret;
use clap::Parser;

use crate::sim::{MAX_PLAYERS, Rules};

/// A small arena shooter over the internet, on bevy_traversal and renet.
#[derive(Parser, Clone, Debug, Default)]
#[command(
    version,
    after_help = "Examples:\n  arena --bots 3                                  play at once, against three computer players\n  \
                  arena --lobby lobby.example.com --host den      open the room \"den\" for friends\n  \
                  arena --lobby lobby.example.com --join den      and enter it\n  \
                  arena --lobby lobby.example.com --quick         play with whoever wants to, too\n  \
                  arena --headless --bots 3 --rounds 1            a match without a window; prints the winner"
)]
pub struct Cli {
    /// Lobby server, HOST:PORT or HOST; without it one is started inside the game
    #[arg(long, value_name = "HOST:PORT")]
    pub lobby: Option<String>,
    /// Open this room at once
    #[arg(long, value_name = "ROOM", conflicts_with = "join")]
    pub host: Option<String>,
    /// Enter this room (its name, its code, or an invite) at once; waits for it for a while
    #[arg(long, value_name = "ROOM")]
    pub join: Option<String>,
    /// Play with whoever wants a match of so many players, too: 2..=8
    #[arg(long, value_name = "PLAYERS", num_args = 0..=1, default_missing_value = "2", conflicts_with_all = ["join", "host", "bots"],
          value_parser = clap::value_parser!(u8).range(2..=MAX_PLAYERS as i64))]
    pub quick: Option<u8>,
    /// With --join: only watch
    #[arg(long, requires = "join")]
    pub watch: bool,
    /// Your name
    #[arg(long)]
    pub name: Option<String>,
    /// Password of the room, for --host and --join
    #[arg(long)]
    pub password: Option<Secret<String>>,
    /// Computer players, with sockets of their own
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..MAX_PLAYERS as i64))]
    pub bots: u8,
    /// Play without a window
    #[arg(long)]
    pub headless: bool,
    /// End after so many rounds, and print the winners
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: Option<u16>,
    /// Write this to the others as soon as they are in the room; may be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub say: Vec<String>,
    /// Give up after so many seconds without a match where --rounds wants one, or without a picture
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub patience: u16,
    /// Points that win a round
    #[arg(long, value_name = "N", default_value_t = Rules::default().target, value_parser = clap::value_parser!(u16).range(1..100))]
    pub points: u16,
    /// Length of a round in seconds
    #[arg(long, value_name = "S", default_value_t = Rules::default().round_seconds, value_parser = clap::value_parser!(u16).range(5..1000))]
    pub round_seconds: u16,
    /// Begin by itself when so many players are in the room; default with --rounds: you and the bots, 2 at least
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=MAX_PLAYERS as i64))]
    pub begin_with: Option<u8>,
    /// Write a picture of the window to this PNG file, then exit
    #[arg(long, value_name = "FILE")]
    pub screenshot: Option<PathBuf>,
    /// When to take the picture, in seconds from the start; with --screen a frame counts as a twentieth of a second
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub after: f32,
    /// Count --after from the beginning of the first fight instead
    #[arg(long)]
    pub in_match: bool,
    /// Go on for so many seconds after the picture, so that others can take theirs
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    pub linger: f32,
    /// Open this screen, with made-up content where it needs any: for pictures
    #[arg(long, value_name = "NAME")]
    pub screen: Option<crate::screens::ScreenName>,
    /// Size of the window in pixels
    #[arg(long, value_name = "WxH", value_parser = size)]
    pub size: Option<(u32, u32)>,
    /// Let the computer play for you
    #[arg(long)]
    pub autoplay: bool,
    /// Seed of everything random
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Measure so many frames, print the frame rate and the network's share of a frame, then exit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub bench_frames: Option<u32>,
    /// Measure so many frames without each part of the picture in turn, print what each part costs, then exit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "bench_frames")]
    pub bench_parts: Option<u32>,
}

impl Cli {
    /// Rules of a match hosted by this program.
    pub fn rules(&self) -> Rules {
        let wins = if self.rounds.is_some() { 0 } else { Rules::default().wins };
        Rules { target: self.points, round_seconds: self.round_seconds, wins, ..Rules::default() }
    }
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let (width, height) = text.split_once('x').ok_or("write it as 1280x720")?;
    let number = |text: &str| text.parse::<u32>().map_err(|error| error.to_string());
    let size = (number(width)?, number(height)?);
    if (160..=8192).contains(&size.0) && (120..=8192).contains(&size.1) {
        Ok(size)
    } else {
        Err(String::from("between 160x120 and 8192x8192"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
        assert_eq!(size("640x360"), Ok((640, 360)));
        assert!(size("640").is_err() && size("1x1").is_err());
        let cli = Cli::parse_from(["arena", "--host", "den", "--bots", "3", "--rounds", "1"]);
        assert_eq!((cli.host.as_deref(), cli.bots, cli.rounds), (Some("den"), 3, Some(1)));
        assert!(Cli::try_parse_from(["arena", "--host", "a", "--join", "b"]).is_err());
        let quick = |args: &[&str]| Cli::try_parse_from([&["arena"], args].concat()).map(|cli| cli.quick);
        assert_eq!(quick(&["--quick", "--headless"]).ok(), Some(Some(2)));
        assert_eq!(quick(&["--quick", "4"]).ok(), Some(Some(4)));
        assert!(quick(&["--quick", "1"]).is_err() && quick(&["--quick", "--bots", "3"]).is_err());
    }
}

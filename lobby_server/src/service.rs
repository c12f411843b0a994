//! The server as a service of Windows: started, watched and stopped by the service manager.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lobby_server::log::Log;
use lobby_server::{Settings, check};
use windows_service::service::{
    ServiceControl, ServiceControlAccept, ServiceExitCode, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle};
use windows_service::{define_windows_service, service_dispatcher};

use super::{Cli, Mode, bind, fail, key_file, ready};

/// The manager takes no notice of it: it knows the service by the name that it was made with.
const NAME: &str = "lobby_server";
/// The manager waits so long for the next word while the server starts or stops. It stops within milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// The process has this command line, for [`serve`], which the manager calls.
static COMMAND_LINE: Mutex<Option<Cli>> = Mutex::new(None);

define_windows_service!(service_main, serve);

/// Serves until the manager stops it.
pub(super) fn run(cli: Cli) -> ExitCode {
    *COMMAND_LINE.lock().unwrap_or_else(PoisonError::into_inner) = Some(cli);
    match service_dispatcher::start(NAME, service_main) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!(
            "the service manager did not start this ({}); `lobby_server service --help` says how it does, and without \
             `service` the server runs in this console",
            check::chain(&error)
        )),
    }
}

/// Serves; the manager calls it in a thread of its own.
fn serve(_arguments: Vec<OsString>) {
    let (stop, stopped) = channel();
    let control = move |control| match control {
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        ServiceControl::Stop | ServiceControl::Shutdown => {
            // It may have ended by itself.
            let _ = stop.send(());
            ServiceControlHandlerResult::NoError
        }
        _ => ServiceControlHandlerResult::NotImplemented,
    };
    let Ok(status) = service_control_handler::register(NAME, control) else { return };
    let Some(cli) = COMMAND_LINE.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let exit_code = match serve_until(stopped, &cli, status) {
        Ok(()) => ServiceExitCode::NO_ERROR,
        Err(_) => ServiceExitCode::ServiceSpecific(1),
    };
    tell(status, ServiceState::Stopped, exit_code);
}

fn serve_until(
    stopped: Receiver<()>,
    cli: &Cli,
    status: ServiceStatusHandle,
) -> Result<(), Box<dyn std::error::Error>> {
    tell(status, ServiceState::StartPending, ServiceExitCode::NO_ERROR);
    let log_file = match &cli.command {
        Some(Mode::Service { log_file }) => log_file.as_ref(),
        _ => None,
    };
    let output: Box<dyn io::Write + Send> = match log_file {
        Some(file) => Box::new(OpenOptions::new().append(true).create(true).open(file)?),
        None => Box::new(io::sink()),
    };
    let settings = Settings::load(cli.config.as_deref(), &cli.flags);
    let (json, filter) = match &settings {
        Ok(settings) => (settings.log_json, settings.log.as_str()),
        // The log is where the reason is to be read.
        Err(_) => (cli.flags.log_json, "info"),
    };
    let log = Log::start(output, json, filter).map_err(|error| error as Box<dyn std::error::Error>)?;
    let result = settings.map_err(Box::<dyn std::error::Error>::from).and_then(|settings| {
        let key_file = key_file(&settings)?;
        let bound = bind(settings, &key_file, log.losses())?;
        tracing::info!("{}", ready(&bound));
        tell(status, ServiceState::Running, ServiceExitCode::NO_ERROR);
        let handle = bound.handle();
        std::thread::Builder::new().name("lobby_stop".into()).spawn(move || {
            if stopped.recv().is_ok() {
                tell(status, ServiceState::StopPending, ServiceExitCode::NO_ERROR);
                handle.stop();
            }
        })?;
        bound.run()?;
        tracing::info!("stopped");
        Ok(())
    });
    if let Err(error) = &result {
        tracing::error!("{}", check::chain(error.as_ref()));
    }
    log.finish();
    result
}

fn tell(status: ServiceStatusHandle, current_state: ServiceState, exit_code: ServiceExitCode) {
    let controls_accepted = match current_state {
        ServiceState::Running => ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN,
        _ => ServiceControlAccept::empty(),
    };
    let waits = matches!(current_state, ServiceState::StartPending | ServiceState::StopPending);
    let told = status.set_service_status(ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state,
        controls_accepted,
        exit_code,
        checkpoint: 0,
        wait_hint: if waits { PATIENCE } else { Duration::ZERO },
        process_id: None,
    });
    if let Err(error) = told {
        tracing::warn!(%error, "the service manager was not told: {current_state:?}");
    }
}

//! One connection to Redis: where it is, what it must be able to do, and how scripts are run there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redis::{Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError, Value};

use super::scripts::Script;

/// Redis may take so long to be connected to, and to answer a batch.
const PATIENCE: Duration = Duration::from_secs(1);
/// The scripts use commands of this version: Debian 12 has 7.0, and Valkey calls itself 7.2.
const OLDEST: (u32, u32) = (6, 2);

/// The connection is of no use, or this Redis is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The connection broke, or Redis took too long.
    #[error("it is not reached")]
    Redis(#[from] RedisError),
    /// Redis took too long.
    #[error("it did not answer within a second")]
    Late,
    /// Redis refused a command.
    #[error("it refuses what it is told: {0}")]
    Refused(String),
    /// What it answered makes no sense.
    #[error("its answer makes no sense: is it a Redis?")]
    Nonsense,
    /// This Redis cannot keep rooms.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// This Redis cannot keep rooms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// It is too old.
    #[error("its version is {0}: at least {a}.{b} is needed", a = OLDEST.0, b = OLDEST.1)]
    Old(String),
    /// It throws rooms away when it is full.
    #[error(
        "its maxmemory-policy is {0}: rooms would vanish when it is full. Set it: maxmemory-policy noeviction"
    )]
    Evicts(String),
    /// It is a part of a cluster.
    #[error(
        "it runs in cluster mode, in which rooms and nodes do not stand together: give the address of a single one"
    )]
    Cluster,
}

/// Reads where Redis is, from the setting.
///
/// # Errors
/// What is wrong with it, for the operator to read. The setting may hold a password, and is never in it.
pub(crate) fn address(setting: &str) -> Result<ConnectionInfo, String> {
    if setting.starts_with("rediss:") || setting.starts_with("valkeys:") {
        return Err(String::from(
            "this program does not speak TLS to Redis: reach it through a private network or a tunnel (WireGuard, \
             stunnel), as redis://ADDRESS:PORT",
        ));
    }
    let Ok(info) = setting.into_connection_info() else {
        return Err(String::from(
            "give memory, redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE] or redis+unix:///PATH",
        ));
    };
    let settings = info.redis_settings().clone().set_skip_set_lib_name();
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp))
}

/// This is what a script is given.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) script: Script,
    pub(super) keys: Vec<String>,
    pub(super) values: Vec<String>,
}

/// This is a connection on which all scripts are known.
pub(crate) struct Link {
    connection: redis::Connection,
    /// Redis knows the scripts by these names, in the order of [`Script::ALL`].
    names: Vec<String>,
}

impl Link {
    /// Connects, and tells Redis the scripts: after a restart it does not know them any more.
    pub(crate) fn open(address: &ConnectionInfo) -> Result<Self, LinkError> {
        let connection = Client::open(address.clone())?.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(PATIENCE))?;
        let mut link = Self { connection, names: Vec::new() };
        let load = |script: &Script| {
            let mut command = redis::cmd("SCRIPT");
            command.arg("LOAD").arg(script.text());
            command
        };
        for name in link.run_commands(&Script::ALL.iter().map(load).collect::<Vec<_>>())? {
            link.names.push(redis::from_redis_value(fine(name)?).map_err(|_| LinkError::Nonsense)?);
        }
        Ok(link)
    }

    /// Returns what Redis says of itself, by name.
    pub(crate) fn about(&mut self) -> Result<About, LinkError> {
        let said = self.run_commands(&[redis::cmd("INFO")])?.pop().ok_or(LinkError::Nonsense)?;
        let said: String = redis::from_redis_value(fine(said)?).map_err(|_| LinkError::Nonsense)?;
        Ok(About::read(&said))
    }

    /// Runs these scripts in their order, and returns what each of them answered. An error of the connection is one for all of
    /// them: some may have run.
    pub(super) fn run(&mut self, calls: &[Call]) -> Result<Vec<Value>, LinkError> {
        let command = |call: &Call| {
            let mut command = redis::cmd("EVALSHA");
            command.arg(&self.names[call.script as usize]).arg(call.keys.len());
            command.arg(&call.keys).arg(&call.values);
            command
        };
        let commands: Vec<Cmd> = calls.iter().map(command).collect();
        self.run_commands(&commands)
    }

    fn run_commands(&mut self, commands: &[Cmd]) -> Result<Vec<Value>, LinkError> {
        let packed: Vec<u8> = commands.iter().flat_map(Cmd::get_packed_command).collect();
        let start = Instant::now();
        self.connection.send_packed_command(&packed)?;
        let mut replies = Vec::with_capacity(commands.len());
        // The library would wait for each of them.
        for _ in commands {
            if start.elapsed() > PATIENCE {
                return Err(LinkError::Late);
            }
            replies.push(self.connection.recv_response()?);
        }
        Ok(replies)
    }
}

/// Tells an answer from a refusal.
pub(super) fn fine(value: Value) -> Result<Value, LinkError> {
    match value {
        Value::ServerError(error) => {
            Err(LinkError::Refused(format!("{} {}", error.code(), error.details().unwrap_or_default())))
        }
        value => Ok(value),
    }
}

/// This is what Redis says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct About {
    /// Redis' own version, or the one that Valkey is compatible with.
    pub(crate) version: String,
    /// It is a Valkey of this version.
    pub(crate) valkey: Option<String>,
    policy: String,
    cluster: bool,
    /// It writes down what it is told, and knows it again after a restart.
    pub(crate) keeps: bool,
}

impl About {
    fn read(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.trim_end().split_once(':'));
        let mut all: BTreeMap<&str, &str> = lines.collect();
        let mut take = |name| all.remove(name).unwrap_or_default().to_owned();
        Self {
            version: take("redis_version"),
            valkey: Some(take("valkey_version")).filter(|version| !version.is_empty()),
            policy: take("maxmemory_policy"),
            cluster: take("cluster_enabled") == "1",
            keeps: take("aof_enabled") == "1",
        }
    }

    /// Says whether rooms can be kept there.
    pub(crate) fn judge(&self) -> Result<(), Unfit> {
        let mut numbers = self.version.split('.').map(|number| number.parse().unwrap_or(0));
        if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < OLDEST {
            return Err(Unfit::Old(self.version.clone()));
        }
        if self.cluster {
            return Err(Unfit::Cluster);
        }
        if self.policy != "noeviction" {
            return Err(Unfit::Evicts(self.policy.clone()));
        }
        Ok(())
    }
}

/// Writes an address without what logs in there.
pub(crate) fn shown(address: &ConnectionInfo) -> String {
    match address.addr() {
        ConnectionAddr::Unix(path) => path.display().to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_a_password_is_never_shown() {
        let info = address("redis://:sesame@cache.example:7000/2").unwrap();
        assert_eq!(shown(&info), "cache.example:7000");
        assert_eq!(info.redis_settings().db(), 2);
        for wrong in ["rediss://:sesame@h", "sesame", "http://sesame", "redis://:sesame@h:x"] {
            let text = address(wrong).unwrap_err();
            assert!(!text.contains("sesame") && text.contains("redis://"), "{wrong}: {text}");
        }
    }

    #[test]
    fn what_cannot_keep_rooms_is_refused() {
        let about = |version: &str, rest: &str| {
            About::read(&format!("# Server\r\nredis_version:{version}\r\n{rest}\r\naof_enabled:1\r\n"))
        };
        let fit = about("7.0.15", "maxmemory_policy:noeviction");
        assert_eq!((fit.judge(), fit.keeps), (Ok(()), true));
        assert_eq!(about("6.2.0", "maxmemory_policy:noeviction").judge(), Ok(()));
        let old = about("6.0.16", "maxmemory_policy:noeviction").judge().unwrap_err();
        assert!(old.to_string().contains("6.0.16") && old.to_string().contains("6.2"), "{old}");
        let evicts = about("7.2.4", "maxmemory_policy:allkeys-lru\r\nvalkey_version:8.0.1");
        assert_eq!(evicts.valkey.as_deref(), Some("8.0.1"));
        assert!(evicts.judge().unwrap_err().to_string().contains("noeviction"));
        let cluster = about("7.0.0", "maxmemory_policy:noeviction\r\ncluster_enabled:1");
        assert_eq!(cluster.judge(), Err(Unfit::Cluster));
    }
}

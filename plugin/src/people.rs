//! Contacts and calls on the app's side: the list of those whom the player allows, the file that it is kept in, and what is heard
//! of them.
//!
//! The file is a text file with one line for each contact: its id, and what the player calls it. People read and change it.

mod messages;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bevy_app::App;
use bevy_ecs::change_detection::DetectChanges;
use bevy_ecs::message::{MessageReader, MessageWriter};
use bevy_ecs::resource::Resource;
use bevy_ecs::system::{ResMut, SystemParam};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use traversal_core::id::PlayerId;
use traversal_core::invite::{ContactText, ContactTextError};
use traversal_core::text;
use traversal_core::wire::message::{MAX_CONTACTS, Presence, Status};
use traversal_core::{Command, Event, RequestFailure, RequestKind};

use crate::kept_file::read_text;
use crate::kept_profiles::replace;
use crate::link::TraversalLink;
use crate::messages::outcomes::RequestFailed;
pub use messages::{
    AnswerCall, CallAccepted, CallEnded, CallPlayer, CallRinging, Calling, HangUp, IncomingCall,
    PresenceChanged, SetStatus,
};

/// The file has this ending where it lies beside the identity.
pub(crate) const ENDING: &str = ".contacts";
/// The file has at most this many bytes: 1,000 lines of some 100 bytes. A longer file is none of ours.
const MAX_FILE: u64 = 1 << 20;
const HEAD: &str = "# Players who may know when this one is on line, and may call it: ids and names.\n";

/// This is what is in the file, and the way to the thread that writes it: a slow disk must not hold up a frame.
pub(crate) struct Store {
    pub(crate) loaded: BTreeMap<PlayerId, String>,
    writer: Sender<BTreeMap<PlayerId, String>>,
}

impl Store {
    /// Returns what is known, and what a thread is to run until that is dropped.
    pub(crate) fn open(path: PathBuf) -> (Self, impl FnOnce() + Send) {
        let (writer, lists): (_, Receiver<BTreeMap<PlayerId, String>>) = bounded(1);
        let loaded = read(&path).unwrap_or_else(|error| {
            bevy_log::warn!("the contacts in {} are not used: {error}", path.display());
            BTreeMap::new()
        });
        let thread = move || {
            for list in lists {
                let lines = list.iter().map(|(player, name)| format!("{player} {name}\n"));
                let text = format!("{HEAD}{}", lines.collect::<String>());
                if let Err(error) = replace(&path, text.as_bytes()) {
                    bevy_log::warn!("cannot keep the contacts in {}: {error}", path.display());
                }
            }
        };
        (Self { loaded, writer }, thread)
    }
}

fn read(path: &Path) -> io::Result<BTreeMap<PlayerId, String>> {
    let Some(content) = read_text(path, MAX_FILE)? else { return Ok(BTreeMap::new()) };
    let mut contacts = BTreeMap::new();
    for (number, line) in content.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (id, name) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match id.parse::<PlayerId>() {
            Ok(player) => _ = contacts.entry(player).or_insert_with(|| text::NAME.clean(name)),
            Err(error) => bevy_log::warn!("line {} of {}: {error}", number + 1, path.display()),
        }
    }
    Ok(contacts)
}

/// Resource: these are the player's contacts. They may see that this player is on line and may call it; those who allow it in turn show
/// their [`Presence`]. Whatever the game changes here is told to the lobby server at the end of the frame, after each login anew, and
/// kept as [`TraversalConfig::contacts`](crate::TraversalConfig::contacts) says. What is in the file is
/// there when the plugin was added, or after the first [`ConnectLobby`](crate::ConnectLobby) where it names the lobby server.
///
/// ```
/// use bevy_traversal::{Contacts, PlayerId};
///
/// let mut contacts = Contacts::default();
/// let zoe: PlayerId = "0123456789abcdef0123456789abcdef".parse()?;
/// contacts.allow(zoe, "Zoë");
/// assert!(contacts.is_allowed(zoe) && contacts.presence(zoe).is_none());
/// # Ok::<(), bevy_traversal::PlayerIdError>(())
/// ```
#[derive(Resource, Clone, Debug, Default, PartialEq, Eq)]
pub struct Contacts {
    allowed: BTreeMap<PlayerId, String>,
    status: Status,
    presence: BTreeMap<PlayerId, Presence>,
}

impl Contacts {
    /// Allows a player, who goes by this name in the list. There may be 1,000; more are refused with
    /// [`RequestFailed`](crate::RequestFailed), and the server keeps the list that it has.
    pub fn allow(&mut self, player: PlayerId, name: impl Into<String>) {
        self.allowed.insert(player, text::NAME.clean(&name.into()));
    }

    /// Allows the player whom a text names that was pasted, with the name in it; one who is allowed already keeps the name that
    /// it goes by here. The other player makes the text with [`ContactText::new`] and its own id
    /// ([`LobbyLink::player`](crate::LobbyLink::player)), and has to allow this player, too.
    ///
    /// # Errors
    /// The text names no player: [`ContactTextError`], whose text is fit for a player.
    pub fn allow_text(&mut self, text: &str) -> Result<PlayerId, ContactTextError> {
        let contact: ContactText = text.parse()?;
        let name = self.allowed.entry(contact.player()).or_default();
        if name.is_empty() {
            name.push_str(contact.name());
        }
        Ok(contact.player())
    }

    /// Allows a player no longer, for whom this one is off line from now on. Returns whether it was allowed.
    pub fn forget(&mut self, player: PlayerId) -> bool {
        self.presence.remove(&player);
        self.allowed.remove(&player).is_some()
    }

    /// Returns whether this player is allowed.
    pub fn is_allowed(&self, player: PlayerId) -> bool {
        self.allowed.contains_key(&player)
    }

    /// Gives all who are allowed, with the names in the list, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (PlayerId, &str)> {
        self.allowed.iter().map(|(player, name)| (*player, name.as_str()))
    }

    /// Returns a contact's presence, or `None` if it is off line or does not allow this player.
    pub fn presence(&self, player: PlayerId) -> Option<&Presence> {
        self.presence.get(&player)
    }

    /// Gives the contacts who are on line, in the order of their ids.
    pub fn online(&self) -> impl Iterator<Item = (PlayerId, &Presence)> {
        self.presence.iter().map(|(player, presence)| (*player, presence))
    }

    /// Returns how this player is shown, as it was last set by [`SetStatus`].
    pub fn status(&self) -> &Status {
        &self.status
    }
}

/// Registers messages and resource.
pub(crate) fn add(app: &mut App) {
    let mut contacts = app.world_mut().remove_resource::<Contacts>().unwrap_or_default();
    if let Some(mut link) = app.world_mut().get_resource_mut::<TraversalLink>() {
        load(&mut link, &mut contacts);
    }
    app.insert_resource(contacts)
        .add_message::<SetStatus>()
        .add_message::<CallPlayer>()
        .add_message::<AnswerCall>()
        .add_message::<HangUp>()
        .add_message::<PresenceChanged>()
        .add_message::<Calling>()
        .add_message::<CallRinging>()
        .add_message::<IncomingCall>()
        .add_message::<CallAccepted>()
        .add_message::<CallEnded>();
}

/// What is in the file comes in with the first driver, before anything that the driver says.
fn load(link: &mut TraversalLink, contacts: &mut Contacts) {
    let Some(driver) = &link.driver else { return };
    link.told.loaded = true;
    let Some(store) = &driver.contacts else { return };
    link.told.saved.clone_from(&store.loaded);
    for (player, name) in &store.loaded {
        contacts.allowed.entry(*player).or_insert_with(|| name.clone());
    }
}

/// This is what the driver was told of contacts; a new driver was told nothing.
#[derive(Default)]
pub(crate) struct Told {
    list: Option<BTreeMap<PlayerId, String>>,
    status: Option<Status>,
    /// The file was read.
    loaded: bool,
    /// The file has this list, or will have it.
    saved: BTreeMap<PlayerId, String>,
    /// The file does not have the list yet.
    unsaved: bool,
}

impl Told {
    /// Another driver takes over.
    pub(crate) fn forget(&mut self) {
        (self.list, self.status) = (None, None);
    }
}

/// This reads what the game wants of contacts and calls.
#[derive(SystemParam)]
pub(crate) struct PeopleRequests<'w, 's> {
    contacts: ResMut<'w, Contacts>,
    status: MessageReader<'w, 's, SetStatus>,
    call: MessageReader<'w, 's, CallPlayer>,
    answer: MessageReader<'w, 's, AnswerCall>,
    hang_up: MessageReader<'w, 's, HangUp>,
}

impl PeopleRequests<'_, '_> {
    /// Hands over what is new.
    pub(crate) fn hand_over(&mut self, link: &mut TraversalLink, failed: &mut MessageWriter<RequestFailed>) {
        for SetStatus { away, text, hide_room, strangers_ring } in self.status.read().cloned() {
            self.contacts.status = Status { away, playing: false, text, hide_room, strangers_ring };
        }
        if !link.told.loaded {
            load(link, &mut self.contacts);
        }
        let fresh = link.told.list.is_none() || link.told.unsaved;
        if link.driver.is_some() && (self.contacts.is_changed() || fresh) {
            self.tell(link);
        }
        let mut ask = |command, request| {
            if !link.command(command) {
                failed.write(RequestFailed { request, error: RequestFailure::NotLoggedIn });
            }
        };
        for request in self.call.read() {
            ask(Command::Call(request.player), RequestKind::Call);
        }
        for AnswerCall { call, answer } in self.answer.read().cloned() {
            ask(Command::AnswerCall { call, answer }, RequestKind::AnswerCall);
        }
        for request in self.hang_up.read() {
            ask(Command::HangUp(request.call), RequestKind::HangUp);
        }
    }

    fn tell(&mut self, link: &mut TraversalLink) {
        let contacts = &*self.contacts;
        let former = link.told.list.get_or_insert_default();
        if *former != contacts.allowed {
            let same_players = former.keys().eq(contacts.allowed.keys());
            former.clone_from(&contacts.allowed);
            if !same_players {
                let list = contacts.allowed.keys().copied().collect();
                link.command(Command::SetContacts(list));
            }
        }
        if link.told.status.as_ref() != Some(&contacts.status) {
            let first = link.told.status.replace(contacts.status.clone()).is_none();
            if !first || contacts.status != Status::default() {
                link.command(Command::SetStatus(contacts.status.clone()));
            }
        }
        link.told.unsaved = false;
        if link.told.saved != contacts.allowed
            && contacts.allowed.len() <= MAX_CONTACTS
            && let Some(store) = link.driver.as_ref().and_then(|driver| driver.contacts.as_ref())
        {
            match store.writer.try_send(contacts.allowed.clone()) {
                Err(TrySendError::Full(_)) => link.told.unsaved = true,
                Ok(()) | Err(TrySendError::Disconnected(_)) => {
                    link.told.saved.clone_from(&contacts.allowed);
                }
            }
        }
    }
}

/// This writes what is heard of contacts and calls.
#[derive(SystemParam)]
pub(crate) struct PeopleSide<'w> {
    contacts: ResMut<'w, Contacts>,
    presence_changed: MessageWriter<'w, PresenceChanged>,
    calling: MessageWriter<'w, Calling>,
    ringing: MessageWriter<'w, CallRinging>,
    incoming: MessageWriter<'w, IncomingCall>,
    accepted: MessageWriter<'w, CallAccepted>,
    ended: MessageWriter<'w, CallEnded>,
}

impl PeopleSide<'_> {
    /// Takes an event, or gives back one that is of something else.
    pub(crate) fn event(&mut self, event: Event) -> Option<Event> {
        match event {
            Event::Presence { player, presence } => {
                match presence.clone() {
                    Some(presence) => _ = self.contacts.presence.insert(player, presence),
                    None => _ = self.contacts.presence.remove(&player),
                }
                self.presence_changed.write(PresenceChanged { player, presence });
            }
            Event::Calling { call, player } => _ = self.calling.write(Calling { call, player }),
            Event::CallRinging { call, player } => _ = self.ringing.write(CallRinging { call, player }),
            Event::IncomingCall { call, from, contact } => {
                self.incoming.write(IncomingCall { call, from, contact });
            }
            Event::CallAccepted { call, player } => _ = self.accepted.write(CallAccepted { call, player }),
            Event::CallEnded { call, player, why } => {
                self.ended.write(CallEnded { call, player, why });
            }
            event => return Some(event),
        }
        None
    }

    /// The driver is gone, and with it what it said of contacts.
    pub(crate) fn driver_gone(&mut self) {
        for player in std::mem::take(&mut self.contacts.presence).into_keys() {
            self.presence_changed.write(PresenceChanged { player, presence: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn id(n: u8) -> PlayerId {
        PlayerId([n; 16])
    }

    #[test]
    fn contacts_are_kept_and_a_line_that_is_none_spoils_no_other() {
        let folder = std::env::temp_dir().join(format!("bevy_traversal-contacts-{}", std::process::id()));
        let path = folder.join("player.key.contacts");
        let (store, thread) = Store::open(path.clone());
        assert!(store.loaded.is_empty());
        let thread = std::thread::spawn(thread);
        let list: BTreeMap<PlayerId, String> = [(id(1), "Zoë".into()), (id(2), String::new())].into();
        store.writer.send(list.clone()).unwrap();
        drop(store);
        thread.join().unwrap();
        assert_eq!(read(&path).unwrap(), list);
        let more = format!("{}half\n{} two words\u{202e}\n", fs::read_to_string(&path).unwrap(), id(3));
        fs::write(&path, more).unwrap();
        let all = read(&path).unwrap();
        assert_eq!((all.len(), all[&id(3)].as_str()), (3, "two words"));
        fs::write(&path, vec![b'#'; MAX_FILE as usize + 1]).unwrap();
        assert!(read(&path).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}

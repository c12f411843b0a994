//! The messages between game and plugin. Nothing here happens once per packet.

pub(crate) mod invites;
pub(crate) mod outcomes;
pub(crate) mod requests;
pub(crate) mod room;

/// Registers all messages.
pub(crate) fn add(app: &mut bevy_app::App) {
    requests::add(app);
    outcomes::add(app);
    room::add(app);
    crate::people::add(app);
    crate::chat::add(app);
    crate::party::add(app);
    invites::add(app);
}

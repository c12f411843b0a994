//! What the game sees of the other players.

use traversal_core::{DisconnectReason, Event, Seat};

use super::AppSide;
use crate::messages::outcomes as m;
use crate::renet::Change;
use crate::state::Peer;

impl AppSide<'_> {
    pub(super) fn peer_event(&mut self, event: Event, generation: u32) {
        self.stories.note(&event);
        match event {
            Event::Plan { peer, role, methods, seat } => {
                let (hosting, mesh) = (seat.hosts(), seat == Seat::MeshPeer);
                self.out.peer_planned.write(m::PeerPlanned { peer, role, methods, hosting, mesh });
            }
            Event::PeerConnected { peer, seat, path, proven, code } => {
                let (hosting, mesh) = (seat.hosts(), seat == Seat::MeshPeer);
                let spectator = matches!(seat, Seat::Watched | Seat::Spectator);
                let client_id = peer.id.client_id();
                let info = peer.clone();
                let connected = Peer {
                    info,
                    client_id,
                    hosting,
                    mesh,
                    spectator,
                    path: path.clone(),
                    away: false,
                    generation,
                };
                self.peers.0.insert(peer.id, connected);
                // renet runs between the host and each of the others, also in a mesh.
                if !mesh {
                    self.hand_off.changes.push(Change::Connected {
                        player: peer.id,
                        client_id,
                        hosting,
                        spectator,
                    });
                }
                let connected =
                    m::PeerConnected { peer, client_id, path, hosting, mesh, spectator, proven, code };
                self.out.peer_connected.write(connected);
            }
            Event::PeerRelayed { peer, report } => {
                self.out.peer_relayed.write(m::PeerRelayed { peer, report });
            }
            Event::PathChanged { player, path } => {
                if let Some(peer) = self.peers.0.get_mut(&player) {
                    peer.path = path.clone();
                }
                self.out.path_changed.write(m::PathChanged { player, path });
            }
            Event::SizeChanged { player, size } => {
                if let Some(peer) = self.peers.0.get_mut(&player) {
                    peer.path.size = size;
                }
                self.out.size_changed.write(m::SizeChanged { player, size });
            }
            Event::PeerAway { player } => {
                if let Some(Peer { info, client_id, away, .. }) = self.peers.0.get_mut(&player) {
                    *away = true;
                    self.out.peer_away.write(m::PeerAway { peer: info.clone(), client_id: *client_id });
                }
            }
            Event::PeerBack { player, away: time } => {
                if let Some(Peer { info, client_id, away, .. }) = self.peers.0.get_mut(&player) {
                    *away = false;
                    let (peer, client_id) = (info.clone(), *client_id);
                    self.out.peer_back.write(m::PeerBack { peer, client_id, away: time });
                }
            }
            Event::PeerDisconnected { peer, reason } => {
                if let Some(old) = self.peers.0.remove(&peer.id) {
                    let reason = match (reason, self.hand_off.room_end) {
                        (DisconnectReason::Local, Some(end)) => end.into(),
                        (reason, _) => reason,
                    };
                    self.disconnected(old, reason);
                }
            }
            Event::PeerFailed { peer, report } => {
                self.out.traversal_failed.write(m::TraversalFailed { peer, report });
            }
            // Datagrams have a queue of their own.
            other => bevy_log::debug!("unknown event of the agent: {other:?}"),
        }
    }

    pub(super) fn disconnected(&mut self, peer: Peer, reason: DisconnectReason) {
        let Peer { info, client_id, hosting, mesh, .. } = peer;
        if !mesh {
            self.hand_off.changes.push(Change::Disconnected { client_id, hosting, reason: reason.clone() });
        }
        self.out.peer_disconnected.write(m::PeerDisconnected { peer: info, client_id, reason });
    }
}

//! A lobby server inside the game: one command is enough to play.

//! A virtual display for windows.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Returns whether there is a driver that a window can draw with; if not, the error says what is missing.
///
/// # Errors
/// There is none.
pub fn vulkan() -> Result<(), &'static str> {
    let there = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"]
        .iter()
        .any(|folder| Path::new(folder).read_dir().is_ok_and(|mut files| files.next().is_some()));
    if there { Ok(()) } else { Err("no Vulkan driver (Debian: mesa-vulkan-drivers libvulkan1)") }
}

/// This is a virtual display. It is gone when this is dropped.
pub struct Display {
    child: Child,
    /// This is the display's name, for `DISPLAY`.
    pub name: String,
    /// It wrote its number here; a closed pipe would end it.
    _told: BufReader<ChildStdout>,
}

impl Display {
    /// Opens a display of 1280 by 720 pixels; none where Xvfb is not installed.
    pub fn open() -> Option<Self> {
        Self::sized(1280, 720)
    }

    /// Opens a display of a size in pixels; none where Xvfb is not installed.
    pub fn sized(width: u32, height: u32) -> Option<Self> {
        let mut child = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", &format!("{width}x{height}x24")])
            .args(["-nolisten", "tcp", "-noreset"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut number = String::new();
        let mut told = BufReader::new(child.stdout.take()?);
        told.read_line(&mut number).ok()?;
        Some(Self { child, name: format!(":{}", number.trim()), _told: told })
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

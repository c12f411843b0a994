//! Files that only their owner may read: keys, identities, and what tells of a player's network.
//!
//! Unix takes the permissions when a file is made ([`options`]). On Windows a new file inherits what its folder grants, so that
//! is taken from it at once ([`restrict`]), before anything is written.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// Options that make a file for writing which, on Unix, nobody but its owner may read or change (mode 600).
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Grants a file on Windows to this user, to the system and to administrators alone, whatever its folder grants. Does nothing
/// elsewhere: there [`options`] has done it.
///
/// # Errors
/// The system's: a file system without access control (FAT, many network shares), a file of another user, or Wine.
pub fn restrict(path: &Path) -> io::Result<()> {
    #[cfg(windows)]
    {
        if windows::is_wine() {
            // Whatever the list says, it adds what the folder grants, and lets the user's group write.
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "Wine does not keep lists of who may read",
            ));
        }
        windows::restrict(path)
    }
    #[cfg(not(windows))]
    {
        let _ = path;
        Ok(())
    }
}

/// Reads a whole file of at most this many bytes. A longer one is none that this program has written: it is not read to its end,
/// however long it is or becomes.
///
/// # Errors
/// [`io::ErrorKind::FileTooLarge`]: it has more bytes. Else the system's.
pub fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is longer than {most} bytes")));
    }
    Ok(bytes)
}

/// Returns whether others on this machine may read or change the file. Administrators, and the system, may anyway and
/// do not count.
///
/// # Errors
/// The system's, when it does not tell.
pub fn is_open_to_others(path: &Path) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        Ok(std::fs::metadata(path)?.permissions().mode() & 0o077 != 0)
    }
    #[cfg(windows)]
    {
        windows::is_open_to_others(path)
    }
    #[cfg(not(any(unix, windows)))]
    {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(windows)]
mod windows {
    use super::grants_others;
    use std::io;
    use std::path::Path;
    use windows_permissions::constants::{SeObjectType, SecurityInformation};
    use windows_permissions::utilities::current_process_sid;
    use windows_permissions::wrappers::{
        ConvertSecurityDescriptorToStringSecurityDescriptor as text_of, ConvertSidToStringSid,
        GetNamedSecurityInfo, SetNamedSecurityInfo,
    };
    use windows_permissions::{LocalBox, SecurityDescriptor};

    const FILE: SeObjectType = SeObjectType::SE_FILE_OBJECT;

    /// Returns a list that grants all to this user, and to the trustees of SDDL that `others` grants it to. It
    /// inherits nothing (P).
    fn list(others: &str) -> io::Result<LocalBox<SecurityDescriptor>> {
        let user = ConvertSidToStringSid(&*current_process_sid()?)?;
        format!("D:P(A;;FA;;;{}){others}", user.to_string_lossy()).parse()
    }

    /// Returns whether this is Wine or Proton, by a program that Windows does not have.
    pub(super) fn is_wine() -> bool {
        let folder = std::env::var_os("SystemRoot").unwrap_or_else(|| r"C:\windows".into());
        Path::new(&folder).join(r"system32\winecfg.exe").exists()
    }

    pub(super) fn restrict(path: &Path) -> io::Result<()> {
        let list = list("(A;;FA;;;SY)(A;;FA;;;BA)")?;
        let what = SecurityInformation::Dacl | SecurityInformation::ProtectedDacl;
        SetNamedSecurityInfo(path.as_os_str(), FILE, what, None, None, list.dacl(), None)?;
        if is_open_to_others(path)? {
            return Err(io::Error::other("the file system does not keep lists of who may read"));
        }
        Ok(())
    }

    pub(super) fn is_open_to_others(path: &Path) -> io::Result<bool> {
        let what = SecurityInformation::Dacl;
        let granted = text_of(&*GetNamedSecurityInfo(path.as_os_str(), FILE, what)?, what)?;
        // As the system writes this user here: some have names (LA).
        let own = text_of(&*list("")?, what)?;
        Ok(grants_others(&granted.to_string_lossy(), &own.to_string_lossy()))
    }
}

/// Returns whether an access control list of Windows, in its text form (SDDL), grants anything to others than those
/// that `own` grants to, the owner, the system and administrators.
#[cfg(any(windows, test))]
fn grants_others(list: &str, own: &str) -> bool {
    // No list at all, or the empty one that grants everything to everybody.
    if !list.starts_with("D:") || list.contains("NO_ACCESS_CONTROL") {
        return true;
    }
    let own: Vec<&str> = granted(own).collect();
    // Owner rights, the owner to be, the system, administrators.
    granted(list).any(|trustee| !own.contains(&trustee) && !["OW", "CO", "SY", "BA"].contains(&trustee))
}

/// Gives those to whom the entries of a list grant something: `(type;flags;rights;;;trustee)`, allowed are A and its
/// kin.
#[cfg(any(windows, test))]
fn granted(list: &str) -> impl Iterator<Item = &str> {
    list.split('(').skip(1).filter_map(|entry| {
        let mut fields = entry.split(')').next()?.split(';');
        let allows = ["A", "OA", "XA", "ZA"].contains(&fields.next()?);
        let trustee = fields.nth(4)?;
        allows.then_some(trustee)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_not_open_to_others_and_other_files_are() {
        let folder = std::env::temp_dir().join(format!("traversal_udp-private-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder); // of a run that failed
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("private");
        options().create_new(true).open(&path).unwrap();
        match restrict(&path) {
            Ok(()) => assert!(!is_open_to_others(&path).unwrap()),
            // Wine takes the list, and adds what the folder grants: that is seen.
            #[cfg(windows)]
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                let error = windows::restrict(&path).unwrap_err();
                assert!(error.to_string().contains("does not keep"), "{error}");
            }
            Err(error) => panic!("{error}"),
        }
        std::fs::write(&path, "its owner may write").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "its owner may write");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o604)).unwrap();
            assert!(is_open_to_others(&path).unwrap());
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_is_read_up_to_its_bound_and_no_further() {
        let path = std::env::temp_dir().join(format!("traversal_udp-bound-{}", std::process::id()));
        std::fs::write(&path, [7; 100]).unwrap();
        assert_eq!(read_at_most(&path, 100).unwrap(), [7; 100]);
        let error = read_at_most(&path, 99).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(error.to_string(), "it is longer than 99 bytes");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read_at_most(&path, u64::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
        // One that never ends.
        #[cfg(unix)]
        assert_eq!(read_at_most(Path::new("/dev/zero"), 10).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    /// Lists as Windows writes them.
    #[test]
    fn lists_of_windows_are_read() {
        let own = "D:P(A;;FA;;;S-1-5-21-1-2-3-1001)";
        for private in [
            own,
            "D:P(A;;FA;;;S-1-5-21-1-2-3-1001)(A;;FA;;;SY)(A;;FA;;;BA)",
            // Inherited in a profile.
            "D:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;FA;;;S-1-5-21-1-2-3-1001)",
            "D:P(D;;FA;;;WD)(A;;FA;;;OW)",
            "D:P",
        ] {
            assert!(!grants_others(private, own), "{private}");
        }
        for open in [
            "",
            "D:NO_ACCESS_CONTROL",
            // Inherited in a folder of C:\.
            "D:AI(A;ID;FA;;;BA)(A;ID;FA;;;SY)(A;ID;0x1200a9;;;BU)(A;ID;0x1301bf;;;AU)",
            "D:P(A;;FR;;;WD)",
            "D:P(A;;FA;;;S-1-5-21-1-2-3-1001)(A;;FR;;;S-1-5-21-1-2-3-1002)",
        ] {
            assert!(grants_others(open, own), "{open}");
        }
        assert!(!grants_others("D:P(A;;FA;;;LA)", "D:P(A;;FA;;;LA)"), "the administrator itself");
    }
}

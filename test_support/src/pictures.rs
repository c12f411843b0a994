//! A look at the pictures that arena's windows take of themselves.

use std::io::BufReader;
use std::path::Path;

/// Returns width and height of a picture, and how many of its pixels are near each colour.
fn look(file: &Path, colours: [[u8; 3]; 2]) -> ((u32, u32), [usize; 2]) {
    let decoder = png::Decoder::new(BufReader::new(std::fs::File::open(file).expect("the picture is there")));
    let mut reader = decoder.read_info().expect("a PNG file");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a picture that fits")];
    let info = reader.next_frame(&mut pixels).expect("whole");
    assert_eq!(info.color_type, png::ColorType::Rgb);
    let near = |colour: [u8; 3]| {
        let same = |pixel: &&[u8]| pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) < 40);
        pixels[..info.buffer_size()].chunks_exact(3).filter(same).count()
    };
    ((info.width, info.height), colours.map(near))
}

/// Asserts that the picture is of a window of this size, and shows the host and a guest.
pub fn assert_shows_both_players(file: &Path, size: (u32, u32)) {
    // The colours of the host and of the guest.
    let (seen, [host, guest]) = look(file, [[46, 227, 237], [255, 71, 163]]);
    assert_eq!(seen, size);
    assert!(host > 60 && guest > 60, "{}: {host} pixels of the host, {guest} of the guest", file.display());
}

//! Writes the inputs to begin with into folders named after the targets: `cargo run -p fuzz_targets --example seeds -- DIR`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| String::from("fuzz/corpus"));
    for (name, inputs) in fuzz_targets::seeds() {
        let folder = Path::new(&folder).join(name);
        std::fs::create_dir_all(&folder)?;
        for (index, input) in inputs.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{index:02}")), input)?;
        }
    }
    Ok(())
}

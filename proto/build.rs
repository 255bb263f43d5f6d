//! Compiles the contract without a system `protoc`.

use std::path::PathBuf;

use prost::Message as _;

const FILES: &[&str] = &[
    "strait/v1/common.proto",
    "strait/v1/schema.proto",
    "strait/v1/task.proto",
    "strait/v1/control.proto",
    "strait/v1/data.proto",
    "strait/v1/token.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=strait");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("strait.v1.descriptors.bin"), descriptors.encode_to_vec())?;
    // `Bytes` fields share the received buffer: rows are not copied on their way in. Maps are ordered, so that equal ones
    // print and encode equally.
    tonic_prost_build::configure().bytes(".").btree_map(".").compile_fds(descriptors)?;
    Ok(())
}

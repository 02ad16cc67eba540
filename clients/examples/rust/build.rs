//! Generates the messages and the client stub from the protos.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let protos = "../../../proto";
    println!("cargo:rerun-if-changed={protos}");
    let files = protox::compile(
        [
            "jobworker/v1/error_reason.proto",
            "jobworker/v1/job_service.proto",
        ],
        [protos],
    )?;
    tonic_prost_build::configure()
        .build_server(false)
        .compile_fds(files)?;
    Ok(())
}

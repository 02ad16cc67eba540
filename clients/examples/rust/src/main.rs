//! Runs a command as a job. Prints the output as it arrives and exits with the job's exit code.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};
use tonic_types::StatusExt;

use jobworker::get_jobs_stream_response::Kind;
use jobworker::job_service_client::JobServiceClient;
use jobworker::{CreateJobRequest, GetJobsStreamRequest, Job, OutputSource};

pub mod jobworker {
    tonic::include_proto!("jobworker.v1");
}

type Failure = Box<dyn Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()).await {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("error: {}", describe(failure.as_ref()));
            ExitCode::from(125)
        }
    }
}

async fn run(mut command: Vec<String>) -> Result<u8, Failure> {
    if command.is_empty() {
        return Err("usage: jobworker-example COMMAND [ARG]...".into());
    }
    let args = command.split_off(1);
    let mut client = JobServiceClient::new(connect().await?);
    let mut request = Request::new(CreateJobRequest {
        command: command.remove(0),
        args,
        max_cpu: 100,
        max_memory: 64,
        ..Default::default()
    });
    request.set_timeout(Duration::from_secs(30));
    let job = client
        .create_job(request)
        .await?
        .into_inner()
        .job
        .unwrap_or_default();
    let ended = follow(&mut client, job.id).await?;
    Ok(exit_code(&ended))
}

/// Connects with the certificates in a directory that `jobworkerd certs init` created.
async fn connect() -> Result<Channel, Failure> {
    let server = variable("JOBWORKER_SERVER", "localhost:50051");
    let certs = variable("JOBWORKER_CERTS", "/opt/job-worker/certs");
    let role = variable("JOBWORKER_ROLE", "admin");
    let read = |name: String| {
        std::fs::read(format!("{certs}/{name}")).map_err(|error| format!("{certs}/{name}: {error}"))
    };
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read("ca.pem".into())?))
        .identity(Identity::from_pem(
            read(format!("{role}.pem"))?,
            read(format!("{role}-key.pem"))?,
        ));
    Ok(Endpoint::from_shared(format!("https://{server}"))?
        .tls_config(tls)?
        .connect_timeout(Duration::from_secs(10))
        .connect()
        .await?)
}

/// Copies the job's output and returns the job from the last message.
async fn follow(client: &mut JobServiceClient<Channel>, id: String) -> Result<Job, Failure> {
    let request = GetJobsStreamRequest {
        id,
        ..Default::default()
    };
    let mut stream = client.get_jobs_stream(request).await?.into_inner();
    while let Some(message) = stream.message().await? {
        match message.kind {
            Some(Kind::Payload(payload)) if message.source == OutputSource::Stderr as i32 => {
                std::io::stderr().write_all(&payload)?
            }
            Some(Kind::Payload(payload)) => std::io::stdout().write_all(&payload)?,
            Some(Kind::Truncated(range)) => eprintln!("output is missing: {}", range.reason),
            Some(Kind::Result(job)) => return Ok(job),
            Some(Kind::StartOffset(_)) | None => {}
        }
    }
    Err("the stream ended without a result".into())
}

fn exit_code(job: &Job) -> u8 {
    let signal = job.termination.as_ref().map_or(0, |end| end.signal);
    if signal != 0 {
        128 + signal as u8
    } else {
        job.exit_code() as u8
    }
}

fn variable(name: &str, default: &str) -> String {
    std::env::var(name)
        .ok()
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| default.into())
}

/// Returns the server's message and reason, or the error with all its causes. tonic prints only the first cause.
fn describe(failure: &(dyn Error + 'static)) -> String {
    if let Some(info) = failure
        .downcast_ref::<Status>()
        .and_then(|status| status.get_details_error_info())
    {
        let message = failure
            .downcast_ref::<Status>()
            .map_or("", |status| status.message());
        return format!("{message} ({})", info.reason);
    }
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

//! Runs parts of the benchmark without the rest of the program: `part [--smoke|--long] [--markdown] [--pairs N]
//! [--data DIR] PART...`. The program's own door to the same is `alphapulse bench`.

use benches::{BenchError, Effort, Options, PARTS, run};

fn main() -> Result<(), BenchError> {
    let mut options = Options::default();
    let (mut markdown, mut parts) = (false, vec![]);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--smoke" => options.effort = Effort::Smoke,
            "--long" => options.effort = Effort::Long,
            "--markdown" => markdown = true,
            "--pairs" => options.pairs = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(options.pairs),
            "--data" => options.data = arguments.next().map(Into::into),
            part => parts.push(part.to_owned()),
        }
    }
    if parts.is_empty() {
        parts = PARTS.map(str::to_owned).to_vec();
    }
    for part in parts {
        let report = run(&part, &options)?;
        if markdown { println!("{}", report.markdown()) } else { println!("{report}") }
    }
    Ok(())
}

//! A look into an SQLite file, by the `sqlite3` program or Python's module, whichever is there.

use std::path::Path;

use tokio::process::Command;

/// What a statement answers, columns parted by `|`; `None` where nothing here can read such files.
pub(crate) async fn query(file: &Path, statement: &str) -> Option<String> {
    let script = "import sqlite3, sys\n\
                  file = sqlite3.connect('file:' + sys.argv[1] + '?mode=ro', uri=True, timeout=30)\n\
                  for row in file.execute(sys.argv[2]): print(*row, sep='|')";
    let mut program = Command::new("sqlite3");
    program.arg("-readonly").arg(file).arg(statement);
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(file).arg(statement);
    for mut command in [program, python] {
        if let Ok(output) = command.output().await
            && output.status.success()
        {
            return Some(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
    }
    None
}

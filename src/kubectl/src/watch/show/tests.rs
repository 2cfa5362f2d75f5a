use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use indicatif::TermLike;
use serde_json::json;

use super::*;
use crate::snapshot::snapshot;

/// A terminal that keeps what was drawn last.
#[derive(Clone, Debug, Default)]
struct Screen {
    columns: u16,
    drawn: Arc<Mutex<String>>,
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        self.columns
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(&format!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.drawn.lock().expect("the screen").push_str(text);
        Ok(())
    }

    // A bar that is drawn again clears its lines first.
    fn clear_line(&self) -> io::Result<()> {
        self.drawn.lock().expect("the screen").clear();
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Puts this number of requests into the progress.
fn put(progress: &mut Progress, count: usize, outcome: &str, reason: &str, now: Duration) {
    for number in 0..count {
        let request = json!({
            "metadata": {"name": format!("{outcome}-{reason}-{number}"), "namespace": "support"},
            "spec": {"userPoolID": "eu-west-1_Example01", "username": "alice"},
            "status": {"outcome": outcome, "conditions": [{"type": "Ready", "status": "Unknown", "reason": reason,
                "message": "", "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        });
        progress.put(&serde_json::from_value(request).expect("a request"), now);
    }
}

/// Returns the progress of 2,000 requests in a pool whose deliveries fail after a while.
fn progress() -> Progress {
    let mut progress = Progress::default();
    progress.list_begins();
    put(&mut progress, 10, "Succeeded", "ResetAccepted", Duration::ZERO);
    put(&mut progress, 1_000, "Pending", "DeliveryFailing", Duration::ZERO);
    put(&mut progress, 600, "Pending", "AwsCredentialsUnavailable", Duration::ZERO);
    put(&mut progress, 270, "Pending", "RateLimited", Duration::ZERO);
    progress.list_ends(Duration::from_secs(1));
    put(&mut progress, 90, "Failed", "UserNotFoundException", Duration::from_secs(2));
    put(&mut progress, 30, "Unknown", "LimitExceededException", Duration::from_secs(2));
    progress.measure(Duration::from_secs(58));
    progress
}

#[test]
fn the_bar_fits_its_terminal() {
    for columns in [80, 140] {
        let screen = Screen { columns, ..Screen::default() };
        let drawn = Arc::clone(&screen.drawn);
        let bar = bar(ProgressDrawTarget::term_like(Box::new(screen)));
        // A bar that is dropped clears its lines.
        let show = Show { bar, ..Show::new(None, &Selection::default(), false) };
        show.draw(&progress());
        let drawn: Vec<char> = drawn.lock().expect("the screen").chars().collect();
        // Each line is filled with blanks, and a longer one goes on in the next.
        let lines = drawn.chunks(columns.into()).map(String::from_iter);
        let drawn: String = lines.map(|line| format!("{}\n", line.trim_end())).collect();
        assert!(drawn.lines().count() == 3 && !drawn.contains('\u{1b}'), "{drawn}");
        snapshot(&format!("watch/show/bar-{columns}.txt"), &drawn);
    }
}

#[test]
fn a_terminal_shows_few_successes_and_not_the_first_of_many() {
    for (count, wanted) in [(FEW, FEW), (FEW + 1, 0)] {
        let show = Show { is_terminal: true, ..Show::new(None, &Selection::default(), false) };
        let mut progress = Progress::default();
        progress.list_begins();
        for number in 0..count {
            let request = json!({
                "metadata": {"name": format!("r-{number}")}, "spec": {"username": "alice"},
                "status": {"outcome": "Succeeded", "conditions": []},
            });
            let request: Request = serde_json::from_value(request).expect("a request");
            assert!(progress.put(&request, Duration::ZERO));
            show.ended(&request, &progress).expect("an output");
        }
        progress.list_ends(Duration::ZERO);
        assert_eq!(show.early.borrow().len(), FEW);
        assert_eq!(show.of_few(&progress).len(), wanted);
    }
}

use serde_json::json;

use super::*;

const COLUMNS: &[Column] = &[
    Column { name: "user", in_table: true },
    Column { name: "ticket-claimed", in_table: false },
    Column { name: "effect", in_table: true },
];

fn written(format: Format, rows: &[[&str; 3]]) -> String {
    let mut output = Vec::new();
    let mut sheet = Sheet::new(format, COLUMNS, &mut output).unwrap();
    for row in rows {
        sheet.row(&row.map(str::to_owned)).unwrap();
    }
    sheet.finish(&["2 rows | 1 record".to_owned()], &json!({"rows": rows.len()})).unwrap();
    String::from_utf8(output).unwrap()
}

#[test]
fn cells_that_look_like_formulas_are_text_in_csv() {
    for text in [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r1",
        "\tx",
        "  =1",
        "\u{a0}+1",
        "\u{feff}=1",
        "\n-1",
        "＝1",
        "\u{200b}@x",
    ] {
        assert!(cell::csv(text).starts_with('\''), "{text:?}");
        assert!(!cell::csv(text).contains(is_hidden), "{text:?}");
    }
    for text in ["", "alice", "alice@example.com", "1-2", "a=b", "'=1"] {
        assert_eq!(cell::csv(text), text);
    }
}

fn is_hidden(character: char) -> bool {
    cognito_reset_core::escape::is_hidden(character)
}

#[test]
fn csv_quotes_each_cell() {
    let csv = written(Format::Csv, &[["a\"b", "x;=1,\ny", "Performed"]]);
    assert_eq!(csv, "\"user\",\"ticket-claimed\",\"effect\"\n\"a\"\"b\",\"x;=1,\\u000ay\",\"Performed\"\n");
}

#[test]
fn markdown_has_one_line_for_a_row_and_the_totals_below() {
    let md = written(Format::Md, &[["a|b\nc", "<img> [x](y) `z`", ""]]);
    let lines: Vec<&str> = md.lines().collect();
    assert_eq!(lines[0], "| user | ticket-claimed | effect |");
    assert_eq!(lines[2], "| a\\|b\\\\u000ac | &lt;img\\> \\[x\\](y) \\`z\\` |  |");
    assert_eq!(lines.last(), Some(&"2 rows \\| 1 record"));
}

#[test]
fn json_is_one_object_with_the_texts_as_they_are() {
    let rows = [["=1\u{202e}", "", "Performed"], ["b", "t", "Unknown"]];
    let text = written(Format::Json, &rows);
    assert!(!text.contains('\u{202e}'), "{text}");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["rows"][0], json!({"user": "=1\u{202e}", "ticket-claimed": null, "effect": "Performed"}));
    assert_eq!(json["totals"]["rows"], 2);
    let empty: Value = serde_json::from_str(&written(Format::Json, &[])).unwrap();
    assert_eq!(empty["rows"], json!([]));
}

#[test]
fn a_table_keeps_its_columns_over_pages() {
    let mut rows = vec![["a-long-user-name", "t", "Performed"]; 500];
    rows.push(["b", "t", ""]);
    let table = written(Format::Table, &rows);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 502);
    assert_eq!(lines[0], "USER               EFFECT");
    assert_eq!(lines[1], "a-long-user-name   Performed");
    assert_eq!(lines[501], "b                  <none>");
    assert!(!written(Format::Table, &[["\u{1b}[31m", "", ""]]).contains('\u{1b}'));
}

/// A pipe whose reader goes away, or a full disk, after this many bytes.
struct Ending(usize, ErrorKind);

impl Write for Ending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or_else(|| io::Error::from(self.1))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let row = ["a", "b", "c"].map(str::to_owned);
    for format in [Format::Csv, Format::Md, Format::Json, Format::Table] {
        for length in [0, 60] {
            let mut sheet = Sheet::new(format, COLUMNS, Ending(length, ErrorKind::BrokenPipe)).unwrap();
            for _ in 0..600 {
                sheet.row(&row).unwrap();
            }
            assert!(sheet.is_closed, "{format:?} {length}");
            sheet.finish(&[], &json!({})).unwrap();
            let full = Sheet::new(format, COLUMNS, Ending(length, ErrorKind::StorageFull));
            let written = full.and_then(|mut sheet| (0..600).try_for_each(|_| sheet.row(&row)));
            assert!(written.unwrap_err().message.contains("is not complete"), "{format:?} {length}");
        }
    }
}

//! Draws the panels of the dashboard in their places, as SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::{coord::Shift, prelude::*};

use crate::dashboard::{Panel, Place};

/// The pixels of a cell of the grid.
const CELL: (u32, u32) = (50, 32);
const COLUMNS: u32 = 24;
const MEBIBYTE: f64 = 1_048_576.0;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawing<'a> = Result<(), Box<dyn std::error::Error + 'a>>;

/// A panel, with the name and the points of each of its lines.
pub struct Drawn {
    /// The panel.
    pub panel: Panel,
    /// The lines.
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// Writes the picture into a file. The horizontal axis shows seconds since `start`.
///
/// # Errors
/// Returns an error if the file cannot be written.
pub fn write(path: &Path, panels: &[Drawn], start: f64) -> Result<()> {
    draw(path, panels, start).map_err(|error| anyhow!("unable to draw {}: {error}", path.display()))
}

fn draw<'a>(path: &'a Path, panels: &[Drawn], start: f64) -> Drawing<'a> {
    let rows = panels.iter().map(|drawn| drawn.panel.grid_pos.y + drawn.panel.grid_pos.h).max().unwrap_or(1);
    let area = SVGBackend::new(path, (COLUMNS * CELL.0, rows * CELL.1)).into_drawing_area();
    area.fill(&WHITE)?;
    for drawn in panels {
        let Place { x, y, w, h } = drawn.panel.grid_pos;
        let (left, top) = (i32::try_from(x * CELL.0)?, i32::try_from(y * CELL.1)?);
        one(&area.clone().shrink((left, top), (w * CELL.0, h * CELL.1)), drawn, start)?;
    }
    area.present()?;
    Ok(())
}

fn one<'a>(area: &Area<'a>, Drawn { panel, lines }: &Drawn, start: f64) -> Drawing<'a> {
    let (unit, factor) = match panel.unit() {
        "bytes" => (" MiB", 1.0 / MEBIBYTE),
        "percentunit" => (" %", 100.0),
        "s" => (" s", 1.0),
        "reqps" | "ops" => ("/s", 1.0),
        _ => ("", 1.0),
    };
    let scaled = |points: &[(f64, f64)]| {
        let is_shown = |point: &&(f64, f64)| point.1.is_finite();
        points.iter().filter(is_shown).map(|point| (point.0 - start, point.1 * factor)).collect::<Vec<_>>()
    };
    let lines: Vec<_> = lines.iter().map(|(name, points)| (name, scaled(points))).collect();
    let largest = |of: fn(&(f64, f64)) -> f64| lines.iter().flat_map(|line| &line.1).map(of).fold(0.0, f64::max);
    let (width, height) = (largest(|point| point.0), largest(|point| point.1) * 1.45);
    let height = if height > 0.0 { height } else { 1.0 };
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 14))
        .margin(8)
        .x_label_area_size(22)
        .y_label_area_size(58)
        .build_cartesian_2d(0.0..width.max(1.0), 0.0..height)?;
    let label = move |value: &f64| if height < 0.5 { format!("{value:.2}{unit}") } else { format!("{value:.1}{unit}") };
    chart
        .configure_mesh()
        .y_labels(5)
        .x_labels(7)
        .x_label_formatter(&|seconds| format!("{seconds:.0} s"))
        .y_label_formatter(&label)
        .light_line_style(WHITE)
        .draw()?;
    for (index, (name, points)) in lines.into_iter().enumerate() {
        let color = Palette99::pick(index).stroke_width(2);
        let line = chart.draw_series(LineSeries::new(points, color))?;
        line.label(name.as_str()).legend(move |(x, y)| PathElement::new([(x, y), (x + 12, y)], color));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font(("sans-serif", 10))
        .background_style(WHITE.mix(0.7))
        .draw()?;
    Ok(())
}

//! The plots, as SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

const SIZE: (u32, u32) = (720, 400);

/// A line of a plot: its name and its points.
pub type Line<'a> = (&'a str, Vec<(f64, f64)>);

/// A plot of lines over one axis.
pub struct Plot<'a> {
    /// The title.
    pub title: &'a str,
    /// The label of the horizontal axis.
    pub x: &'a str,
    /// The label of the vertical axis.
    pub y: &'a str,
    /// The lines.
    pub lines: Vec<Line<'a>>,
}

impl Plot<'_> {
    /// Writes the plot into a file.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        self.draw(path).map_err(|error| anyhow!("unable to draw {}: {error}", path.display()))
    }

    fn draw(&self, path: &Path) -> Result<(), Box<dyn std::error::Error + '_>> {
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let largest = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(0.0, f64::max);
        let (width, height) = (largest(|point| point.0), largest(|point| point.1) * 1.1);
        let area = SVGBackend::new(path, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..width.max(1.0), 0.0..height.max(1.0))?;
        chart.configure_mesh().x_desc(self.x).y_desc(self.y).light_line_style(WHITE).draw()?;
        for (index, (name, points)) in self.lines.iter().enumerate() {
            let color = Palette99::pick(index).stroke_width(2);
            let line = LineSeries::new(points.iter().copied(), color).point_size(3);
            chart.draw_series(line)?.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
        }
        if self.lines.len() > 1 {
            chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK).draw()?;
        }
        area.present()?;
        Ok(())
    }
}

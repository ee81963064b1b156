//! The drawings: all have the same time axis, so that a band in one is above the dip in the next. Text is
//! drawn in a colour that is then replaced by the page's own.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::super::{FaultRecord, Run};

const WIDTH: u32 = 1100;
const HEIGHT: u32 = 220;
const LANE: u32 = 18;
const LEFT: u32 = 64;
const BOTTOM: u32 = 26;
/// Half of the last label on the time axis.
const RIGHT: u32 = 18;
const MARGIN: u32 = 6;
/// Drawn nowhere else, so that it can be found again.
const INK: RGBColor = RGBColor(1, 2, 3);
const GRID: RGBColor = RGBColor(128, 128, 128);

/// Readable on white and on black.
const COLOURS: [Colour; 9] = [
    Colour(59, 130, 246),
    Colour(217, 119, 6),
    Colour(22, 163, 74),
    Colour(220, 38, 38),
    Colour(147, 51, 234),
    Colour(13, 148, 136),
    Colour(219, 39, 119),
    Colour(101, 140, 20),
    Colour(120, 113, 108),
];

#[derive(Clone, Copy)]
pub struct Colour(pub u8, pub u8, pub u8);

pub fn colour(n: usize) -> Colour {
    COLOURS[n % COLOURS.len()]
}

impl Colour {
    fn paint(self) -> RGBColor {
        RGBColor(self.0, self.1, self.2)
    }
}

pub struct Line {
    /// Empty when it needs none.
    pub name: String,
    pub colour: Colour,
    /// Seconds and value; without a value the line has a gap.
    pub points: Vec<(f64, Option<f64>)>,
}

/// The time axis, in seconds.
pub struct Span(f64);

impl Span {
    pub fn of(run: &Run<'_>) -> Span {
        let ends = run.faults.iter().map(|fault| fault.healed + fault.quiet_after.unwrap_or_default());
        let sampled = run.samples.last().map_or(0.0, |sample| sample.at);
        Span(ends.fold(run.seconds.max(sampled).max(1.0), f64::max))
    }
}

/// One lane for each fault, in the order in which they were applied.
pub fn lanes(span: &Span, faults: &[FaultRecord]) -> Result<String> {
    let height = LANE * faults.len() as u32 + BOTTOM + 2 * MARGIN;
    svg(height, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(MARGIN)
            .margin_right(RIGHT)
            .x_label_area_size(BOTTOM)
            .margin_left(MARGIN + LEFT)
            .build_cartesian_2d(0.0..span.0, 0.0..faults.len() as f64)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .axis_style(GRID)
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.mix(0.25))
            .x_label_style(ink(11))
            .x_label_formatter(&clock)
            .draw()?;
        for (n, fault) in faults.iter().enumerate() {
            let top = (faults.len() - n) as f64;
            let paint = kind_colour(faults, fault).paint();
            let bar = |from: f64, to: f64| [(from, top - 0.15), (to, top - 0.85)];
            let quiet = fault.healed + fault.quiet_after.unwrap_or_default();
            chart.draw_series([
                Rectangle::new(bar(fault.healed, quiet), paint.mix(0.35).filled()),
                Rectangle::new(bar(fault.started, fault.healed), paint.filled()),
            ])?;
            // Where there is room: right of its bar, or left of one that is far to the right.
            let (at, side, gap) =
                if quiet < span.0 * 0.6 { (quiet, HPos::Left, 5) } else { (fault.started, HPos::Right, -5) };
            let style = ink(12).pos(Pos::new(side, VPos::Center));
            let label = format!("{} {}", fault.name, fault.target);
            let label = EmptyElement::at((at, top - 0.5)) + Text::new(label, (gap, 0), style);
            chart.draw_series(std::iter::once(label))?;
        }
        Ok(())
    })
}

/// Lines over the bands of the faults.
pub fn plot(span: &Span, faults: &[FaultRecord], lines: &[Line]) -> Result<String> {
    let values = lines.iter().flat_map(|line| line.points.iter().filter_map(|point| point.1));
    let top = values.fold(1.0, f64::max) * 1.05;
    svg(HEIGHT, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(MARGIN)
            .margin_right(RIGHT)
            .x_label_area_size(BOTTOM)
            .y_label_area_size(LEFT)
            .build_cartesian_2d(0.0..span.0, 0.0..top)?;
        chart.draw_series(faults.iter().map(|fault| {
            let paint = kind_colour(faults, fault).paint();
            Rectangle::new([(fault.started, 0.0), (fault.healed, top)], paint.mix(0.13).filled())
        }))?;
        chart
            .configure_mesh()
            .axis_style(GRID)
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.mix(0.25))
            .label_style(ink(11))
            .x_label_formatter(&clock)
            .y_labels(6)
            .y_label_formatter(&|value| value.to_string())
            .draw()?;
        for line in lines {
            for part in line.points.split(|point| point.1.is_none()) {
                let points = part.iter().filter_map(|(at, value)| value.map(|value| (*at, value)));
                chart.draw_series(LineSeries::new(points, line.colour.paint().stroke_width(2)))?;
            }
        }
        Ok(())
    })
}

type Draw<'a, 'b> = &'a DrawingArea<SVGBackend<'b>, Shift>;

fn svg(
    height: u32,
    draw: impl FnOnce(Draw<'_, '_>) -> Result<(), Box<dyn std::error::Error>>,
) -> Result<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    draw(&area).and_then(|()| Ok(area.present()?)).map_err(|error| anyhow!("the timeline: {error}"))?;
    drop(area);
    let ink = format!("#{:02X}{:02X}{:02X}", INK.0, INK.1, INK.2);
    Ok(svg.replace(&ink, "currentColor"))
}

fn ink(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

/// `4:07`
fn clock(seconds: &f64) -> String {
    let seconds = seconds.round() as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// The same for all faults of a kind.
fn kind_colour(faults: &[FaultRecord], fault: &FaultRecord) -> Colour {
    let mut names: Vec<&str> = faults.iter().map(|fault| fault.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    colour(names.iter().position(|name| *name == fault.name).unwrap_or_default())
}

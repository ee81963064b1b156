//! The plots, drawn as SVG so that the page needs nothing else. Text is drawn in a colour that is then
//! replaced by the page's own, so that it is readable on light and dark screens.

use std::fmt::Write as _;
use std::ops::Range;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use super::page::escape;
use super::{Curve, Mark, Plot, number};

/// Width and height of a plot on the page, and of one that stands alone, two of which are side by side in a text.
const PAGE: (u32, u32) = (1100, 240);
const PICTURE: (u32, u32) = (560, 280);
const LEFT: u32 = 70;
const BOTTOM: u32 = 26;
const MARGIN: u32 = 8;
const RIGHT: u32 = 24;
/// A curve over time that says nothing for longer is interrupted: what was away has no value in between. Seconds.
const GAP: f64 = 3.5;
/// Drawn nowhere else, so that it can be found again.
const INK: RGBColor = RGBColor(1, 2, 3);
const GRID: RGBColor = RGBColor(128, 128, 128);

/// Readable on white and on black.
const COLOURS: [RGBColor; 14] = [
    RGBColor(59, 130, 246),
    RGBColor(217, 119, 6),
    RGBColor(22, 163, 74),
    RGBColor(220, 38, 38),
    RGBColor(147, 51, 234),
    RGBColor(13, 148, 136),
    RGBColor(219, 39, 119),
    RGBColor(101, 140, 20),
    RGBColor(120, 113, 108),
    RGBColor(56, 189, 248),
    RGBColor(161, 98, 7),
    RGBColor(99, 102, 241),
    RGBColor(74, 222, 128),
    RGBColor(244, 114, 182),
];

pub fn colour(n: usize) -> RGBColor {
    COLOURS[n % COLOURS.len()]
}

#[derive(Clone, Copy, PartialEq)]
pub enum Scale {
    Linear,
    /// For latencies, which are milliseconds and then seconds.
    Logarithmic,
}

/// What is along the bottom.
pub enum Along<'a> {
    /// Seconds since the run began, with what was changed when.
    Time {
        until: f64,
        marks: &'a [Mark],
    },
    Quantity(&'a str),
    /// Nothing: each curve is a bar, as high as its only point.
    Bars,
}

impl<'a> Along<'a> {
    pub fn of(plot: &'a Plot) -> Along<'a> {
        plot.x.as_deref().map_or(Along::Bars, Along::Quantity)
    }
}

pub fn plot(curves: &[Curve], along: &Along<'_>, scale: Scale) -> Result<String> {
    sized(PAGE, curves, along, scale)
}

fn sized(size: (u32, u32), curves: &[Curve], along: &Along<'_>, scale: Scale) -> Result<String> {
    let values = || curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.1));
    let top = values().fold(0.0, f64::max).max(1e-3) * 1.05;
    let (x, marks) = match along {
        Along::Time { until, marks } => (0.0..until.max(1.0), *marks),
        Along::Quantity(_) => (0.0..furthest(curves), &[][..]),
        Along::Bars => (0.0..curves.len() as f64, &[][..]),
    };
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let drawn = match scale {
        Scale::Linear => draw(&area, x, 0.0..top, top, curves, marks, along),
        Scale::Logarithmic => {
            let least = values().filter(|value| *value > 0.0).fold(top, f64::min).max(0.05);
            draw(&area, x, (least..top.max(least * 10.0)).log_scale(), top, curves, marks, along)
        }
    };
    drawn.and_then(|()| Ok(area.present()?)).map_err(|error| anyhow!("a plot: {error}"))?;
    drop(area);
    let ink = format!("#{:02X}{:02X}{:02X}", INK.0, INK.1, INK.2);
    Ok(svg.replace(&ink, "currentColor"))
}

/// A plot that stands alone, with its title and what its colours mean, for pages that only take pictures.
pub fn picture(plot: &Plot) -> Result<String> {
    const FIRST_KEY: u32 = 32;
    const KEY: (u32, u32) = (230, 20);
    let inner = sized(PICTURE, &plot.lines, &Along::of(plot), Scale::Linear)?;
    let mut keys = String::new();
    for (n, curve) in plot.lines.iter().enumerate() {
        let RGBColor(red, green, blue) = colour(n);
        let (x, y) = (LEFT + n as u32 % 2 * KEY.0, FIRST_KEY + n as u32 / 2 * KEY.1);
        let _ = write!(
            keys,
            "<rect x=\"{x}\" y=\"{y}\" width=\"12\" height=\"12\" fill=\"rgb({red},{green},{blue})\"/>\
             <text x=\"{}\" y=\"{}\">{}</text>",
            x + 18,
            y + 11,
            escape(&curve.name)
        );
    }
    let head = FIRST_KEY + plot.lines.len().div_ceil(2) as u32 * KEY.1;
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"13\" \
         fill=\"currentColor\"><style>:root {{ color: #1f2328 }} @media (prefers-color-scheme: dark) {{ :root {{ color: \
         #e6edf3 }} }}</style><text x=\"{LEFT}\" y=\"20\" font-size=\"16\" font-weight=\"bold\">{} ({})</text>{keys}\
         <g transform=\"translate(0 {head})\">{inner}</g></svg>\n",
        PICTURE.0,
        PICTURE.1 + head,
        escape(&plot.title),
        escape(&plot.y)
    ))
}

fn furthest(curves: &[Curve]) -> f64 {
    let all = curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.0));
    all.fold(0.0, f64::max).max(1e-3)
}

fn draw<Y>(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    x: Range<f64>,
    y: Y,
    top: f64,
    curves: &[Curve],
    marks: &[Mark],
    along: &Along<'_>,
) -> Result<(), Box<dyn std::error::Error>>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN)
        .margin_right(RIGHT)
        .x_label_area_size(BOTTOM + if matches!(along, Along::Quantity(_)) { 16 } else { 0 })
        .y_label_area_size(LEFT)
        .build_cartesian_2d(x, y)?;
    let mut mesh = chart.configure_mesh();
    mesh.axis_style(GRID)
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.mix(0.25))
        .label_style(("sans-serif", 11).into_font().color(&INK))
        .y_labels(6);
    let clock =
        |seconds: &f64| format!("{}:{:02}", (seconds.round() as u64) / 60, (seconds.round() as u64) % 60);
    let plain = |value: &f64| number(*value);
    mesh.y_label_formatter(&plain);
    match along {
        Along::Time { .. } => mesh.x_label_formatter(&clock),
        Along::Quantity(what) => mesh.x_label_formatter(&plain).x_desc(*what),
        Along::Bars => mesh.disable_x_mesh().x_labels(0),
    };
    mesh.draw()?;
    for mark in marks {
        let line = [(mark.at, 1e-3), (mark.at, top)];
        chart.draw_series(std::iter::once(PathElement::new(line, GRID.mix(0.5))))?;
    }
    for (n, curve) in curves.iter().enumerate() {
        // A logarithm of zero has no place.
        let points = || curve.points.iter().map(|(x, y)| (*x, y.max(1e-3)));
        if matches!(along, Along::Bars) {
            let middle = n as f64 + 0.5;
            let bar =
                |(_, y)| Rectangle::new([(middle - 0.25, 1e-3), (middle + 0.25, y)], colour(n).filled());
            chart.draw_series(points().map(bar))?;
            continue;
        }
        let points_of_time: Vec<_> = points().collect();
        let goes_on = |one: &(f64, f64), next: &(f64, f64)| {
            !matches!(along, Along::Time { .. }) || next.0 - one.0 <= GAP
        };
        for part in points_of_time.chunk_by(goes_on) {
            chart.draw_series(LineSeries::new(part.iter().copied(), colour(n).stroke_width(2)))?;
        }
        if matches!(along, Along::Quantity(_)) {
            chart.draw_series(points().map(|point| Circle::new(point, 3, colour(n).filled())))?;
        }
    }
    Ok(())
}

//! Pictures as SVG text: bars of a scenario, bars of all of them, curves. Reads and writes no file.

use std::error::Error;
use std::io;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::record::{Record, Series, family};
use crate::report;
use crate::results::{Axis, Curves, digits};
use crate::scenarios::Scenario;

type Sheet<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error + Send + Sync>>;

const INK: RGBColor = RGBColor(33, 37, 41);
const FAINT: RGBColor = RGBColor(222, 226, 230);
const MARMOT: RGBColor = RGBColor(224, 82, 6);
const RAW: RGBColor = RGBColor(52, 58, 64);
/// The others where marmot alone has to stand out.
const OTHERS: RGBColor = RGBColor(159, 179, 200);
/// Where a line is no client's.
const MORE: [RGBColor; 4] =
    [RGBColor(12, 133, 153), RGBColor(174, 62, 201), RGBColor(194, 37, 92), RGBColor(92, 148, 13)];

/// Those of the picture of all scenarios, beside the raw loop, and marmot last.
const FAMILIES: [&str; 5] = ["hyper", "reqwest", "ureq", "isahc", "marmot"];

/// Where bars of the picture of all scenarios end: what is longer has its figure written above.
const LONGEST: f64 = 4.0;

/// A client's own, or the one of a place among others.
fn colour(name: &str, place: usize) -> RGBColor {
    match family(name) {
        "marmot" if name == "marmot" => MARMOT,
        "marmot" if name == "marmot-apart" => RGBColor(240, 150, 70),
        "marmot" => RGBColor(140, 45, 4),
        "raw" => RAW,
        "hyper" => RGBColor(151, 117, 200),
        "reqwest" => RGBColor(92, 124, 230),
        "ureq" => RGBColor(90, 170, 140),
        "isahc" => RGBColor(165, 172, 180),
        _ => MORE[place % MORE.len()],
    }
}

fn ink(size: u32, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK).pos(Pos::new(horizontal, vertical))
}

/// Draws on a white sheet, so that the picture is the same on light and dark pages.
fn svg(size: (u32, u32), title: &str, draw: impl FnOnce(&Sheet<'_>) -> Drawn) -> io::Result<String> {
    let mut text = String::new();
    let sheet = SVGBackend::with_string(&mut text, size).into_drawing_area();
    let drawn = || {
        sheet.fill(&WHITE)?;
        sheet.draw(&Text::new(title.to_owned(), (16, 12), ink(17, HPos::Left, VPos::Top)))?;
        draw(&sheet)?;
        sheet.present()?;
        Drawn::Ok(())
    };
    drawn().map_err(io::Error::other)?;
    drop(sheet);
    Ok(text + "\n")
}

/// One bar for each peer, with the range of its rounds.
pub fn bars(scenario: &Scenario, record: &Record) -> io::Result<String> {
    let metric = scenario.metrics()[0];
    let direction = if metric.more_is_better() { "more is better" } else { "less is better" };
    let rows: Vec<(&Series, f64, (f64, f64))> =
        record.series.iter().filter_map(|one| Some((one, one.median(metric)?, one.range(metric)?))).collect();
    let longest = rows.iter().map(|row| row.2.1).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let height = 44 + 24 * rows.len() as u32 + 60;
    svg((760, height), &report::title(scenario), |sheet| {
        let count = rows.len();
        let mut chart = ChartBuilder::on(sheet)
            .margin_top(44)
            .margin_bottom(8)
            .margin_right(12)
            .set_label_area_size(LabelAreaPosition::Left, 130)
            .set_label_area_size(LabelAreaPosition::Bottom, 48)
            // Room for the figure behind the longest one.
            .build_cartesian_2d(0.0..longest * 1.12, (0..count).into_segmented())?;
        let name = |row: &SegmentValue<usize>| match row {
            SegmentValue::CenterOf(row) if *row < count => rows[count - 1 - row].0.peer.clone(),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .set_tick_mark_size(LabelAreaPosition::Left, 0)
            .light_line_style(TRANSPARENT)
            .bold_line_style(FAINT)
            .axis_style(FAINT)
            .label_style(ink(13, HPos::Center, VPos::Center))
            .y_labels(count)
            .y_label_formatter(&name)
            .x_labels(6)
            .x_label_formatter(&|value| digits(*value))
            .x_desc(format!("{}, median and range ({direction})", metric.label()))
            .axis_desc_style(ink(13, HPos::Center, VPos::Center))
            .draw()?;
        for (index, &(one, figure, (low, high))) in rows.iter().enumerate() {
            let row = count - 1 - index;
            let own = ["marmot", "raw"].contains(&family(&one.peer));
            let fill = if own { colour(&one.peer, index) } else { OTHERS };
            let mut bar = Rectangle::new(
                [(0.0, SegmentValue::Exact(row)), (figure, SegmentValue::Exact(row + 1))],
                fill.filled(),
            );
            bar.set_margin(4, 4, 0, 0);
            let middle = SegmentValue::CenterOf(row);
            let label = EmptyElement::at((high, middle.clone()))
                + Text::new(digits(figure), (6, 0), ink(12, HPos::Left, VPos::Center));
            chart.draw_series([bar])?;
            chart.draw_series([PathElement::new([(low, middle.clone()), (high, middle)], INK)])?;
            chart.draw_series([label])?;
        }
        Ok(())
    })
}

/// A group of bars for each scenario: what each client costs, where the raw loop costs 1.
pub fn overview(records: &[Record]) -> io::Result<String> {
    let groups: Vec<_> = records.iter().filter_map(Group::of).collect();
    svg((1040, 480), "Cost beside raw curl = 1 (less is better)", |sheet| {
        let mut chart = ChartBuilder::on(sheet)
            .margin_top(74)
            .margin_right(12)
            .set_label_area_size(LabelAreaPosition::Left, 34)
            .set_label_area_size(LabelAreaPosition::Bottom, 70)
            .build_cartesian_2d(0.0..groups.len() as f64, 0.0..LONGEST)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(FAINT)
            .axis_style(FAINT)
            .label_style(ink(13, HPos::Right, VPos::Center))
            .x_labels(0)
            .y_labels(LONGEST as usize + 1)
            .y_label_formatter(&|value| digits(*value))
            .draw()?;
        for (place, group) in groups.iter().enumerate() {
            let width = 0.8 / FAMILIES.len() as f64;
            for (index, &(name, cost)) in group.bars.iter().enumerate() {
                // In the middle, where not all take part.
                let first = 0.5 - width * group.bars.len() as f64 / 2.0;
                let left = place as f64 + first + width * index as f64;
                let corners = [(left, 0.0), (left + width * 0.92, cost.min(LONGEST))];
                chart.draw_series([Rectangle::new(corners, colour(name, index).filled())])?;
                if cost > LONGEST {
                    let text = Text::new(format!("{cost:.0}"), (0, -2), ink(11, HPos::Center, VPos::Bottom));
                    chart.draw_series([EmptyElement::at((left + width / 2.0, LONGEST)) + text])?;
                }
            }
            let lines = [group.scenario.name].into_iter().chain(group.scenario.short.split_inclusive(", "));
            for (line, text) in lines.enumerate() {
                let style = ink(if line == 0 { 13 } else { 11 }, HPos::Center, VPos::Top);
                let text = Text::new(text.trim().to_owned(), (0, 6 + 16 * line as i32), style);
                chart.draw_series([EmptyElement::at((place as f64 + 0.5, 0.0)) + text])?;
            }
        }
        chart.draw_series([PathElement::new([(0.0, 1.0), (groups.len() as f64, 1.0)], RAW.stroke_width(2))])?;
        for (index, name) in ["raw"].into_iter().chain(FAMILIES).enumerate() {
            legend(sheet, (34 + 110 * index as i32, 48), name, colour(name, index))?;
        }
        Ok(())
    })
}

/// The bars of one scenario.
struct Group {
    scenario: &'static Scenario,
    /// Of each family the one of its ways that is best here, and how many times the raw loop's its cost is.
    bars: Vec<(&'static str, f64)>,
}

impl Group {
    fn of(record: &Record) -> Option<Self> {
        let scenario = record.scenario()?;
        let (metric, raw) = (scenario.metrics()[0], record.series(scenario.raw)?);
        let cost = |one: &Series| match metric.more_is_better() {
            true => raw.ratio(metric, one),
            false => one.ratio(metric, raw),
        };
        let bar = |name: &&'static str| {
            let family = record.series.iter().filter(|one| family(&one.peer) == *name);
            Some((*name, family.filter_map(cost).min_by(f64::total_cmp)?))
        };
        let bars: Vec<_> = FAMILIES.iter().filter_map(bar).collect();
        // marmot alone is compared with nobody.
        (bars.len() > 1).then_some(Self { scenario, bars })
    }
}

/// Lines with a mark at each point, and their names beside.
pub fn curves(curves: &Curves) -> io::Result<String> {
    svg((760, 420), &curves.title, |sheet| {
        let range = |axis: &Axis, place: usize| {
            let all = curves.series.iter().flat_map(|one| &one.points).map(|point| point[place]);
            let (low, high) = all.fold((f64::INFINITY, 0.0_f64), |(low, high), one| (low.min(one), high.max(one)));
            if axis.log { low / 1.3..high * 1.3 } else { low.min(0.0)..high * 1.05 }
        };
        let (x, y) = (range(&curves.x, 0), range(&curves.y, 1));
        match (curves.x.log, curves.y.log) {
            (true, true) => lines(sheet, curves, x.log_scale(), y.log_scale()),
            (true, false) => lines(sheet, curves, x.log_scale(), y),
            (false, true) => lines(sheet, curves, x, y.log_scale()),
            (false, false) => lines(sheet, curves, x, y),
        }
    })
}

fn lines<X, Y>(sheet: &Sheet<'_>, curves: &Curves, x: X, y: Y) -> Drawn
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64> + Ranged<ValueType = f64>,
    Y::CoordDescType: ValueFormatter<f64> + Ranged<ValueType = f64>,
{
    let mut chart = ChartBuilder::on(sheet)
        .margin_top(44)
        .margin_right(150)
        .margin_bottom(8)
        .margin_left(8)
        .set_label_area_size(LabelAreaPosition::Left, 80)
        .set_label_area_size(LabelAreaPosition::Bottom, 46)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_style(FAINT)
        .label_style(ink(12, HPos::Center, VPos::Center))
        .axis_desc_style(ink(13, HPos::Center, VPos::Center))
        .x_label_formatter(&|value| digits(*value))
        .y_label_formatter(&|value| digits(*value))
        .x_desc(&curves.x.label)
        .y_desc(&curves.y.label)
        .draw()?;
    for (index, one) in curves.series.iter().enumerate() {
        let colour = colour(&one.name, index);
        let width = if family(&one.name) == "marmot" { 3 } else { 2 };
        let points = || one.points.iter().map(|&[x, y]| (x, y));
        chart.draw_series(LineSeries::new(points(), colour.stroke_width(width)))?;
        chart.draw_series(points().map(|point| Circle::new(point, width + 1, colour.filled())))?;
        legend(sheet, (622, 60 + 22 * index as i32), &one.name, colour)?;
    }
    Ok(())
}

fn legend(sheet: &Sheet<'_>, (x, y): (i32, i32), name: &str, colour: RGBColor) -> Drawn {
    sheet.draw(&Rectangle::new([(x, y - 5), (x + 14, y + 5)], colour.filled()))?;
    sheet.draw(&Text::new(name.to_owned(), (x + 20, y), ink(13, HPos::Left, VPos::Center)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::curve;

    #[test]
    fn every_scale_can_be_drawn() {
        for (x, y) in [(false, false), (false, true), (true, false), (true, true)] {
            let axis = |log| Axis { label: "axis".into(), log };
            let series = vec![curve("marmot", [(1.0, 2.0), (1000.0, 5.0)]), curve("something", [(1.0, 3.0)])];
            let picture = curves(&Curves { title: "title".into(), x: axis(x), y: axis(y), series }).unwrap();
            assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"), "{picture}");
            assert_eq!(picture.matches("<circle").count(), 3, "{picture}");
        }
    }
}

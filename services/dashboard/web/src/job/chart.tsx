/** Line charts over time. */
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { themeColor, visibleTheme } from "../app/theme.js";
import { formatTime } from "../ui/format.js";
import { chartData, type Line } from "./chart_data.js";
import type { Value } from "./usage_history.js";
import "uplot/dist/uPlot.min.css";
import "./chart.css";

const HEIGHT = 150;

// The charts show at least this period, so that the first seconds do not fill the width.
const MIN_PERIOD_S = 60;

const BINARY_STEPS = Array.from({ length: 50 }, (_, exponent) => 2 ** exponent);

interface ChartProps {
  readonly title: string;
  /** Seconds since 1970. */
  readonly times: readonly number[];
  readonly lines: readonly Line[];
  readonly format: (value: number) => string;
  /** The smallest maximum of the scale. */
  readonly minScale: number;
  /** The base of the steps between the labels of the scale: 2 for bytes. */
  readonly base: 2 | 10;
  readonly limit?: number | undefined;
}

/** A chart with its title, and the newest values as text, or those at the pointer. */
export function Chart({ title, times, lines, format, minScale, base, limit }: ChartProps) {
  const holder = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const [hovered, setHovered] = useState<number | null>(null);
  const theme = visibleTheme();
  const isMeasured = times.length < 2 || lines.some(({ values }) => values.some((value) => value !== null));

  useEffect(() => {
    const element = holder.current;
    if (!element) {
      return;
    }
    const created = new uPlot(optionsOf({ lines, format, minScale, base }, setHovered), [[]], element);
    plot.current = created;
    const resizes = new ResizeObserver(() => created.setSize({ width: element.clientWidth, height: HEIGHT }));
    resizes.observe(element);
    return () => {
      resizes.disconnect();
      created.destroy();
      plot.current = undefined;
    };
  }, [theme, isMeasured]);

  useEffect(() => plot.current?.setData(chartData(times, lines, limit)));

  const shown = hovered ?? times.length - 1;
  const time = hovered === null ? undefined : times[hovered];
  return (
    <section class="chart panel" aria-label={title}>
      <div class="chart-head">
        <h2>{title}</h2>
        {lines.map(({ name, color, values }) => (
          <span key={name} class="chart-value">
            <span class="chart-swatch" style={{ background: `var(${color})` }} />
            {lines.length > 1 && <span class="muted">{name}</span>}
            <span class="numeric">{formatValue(values[shown], format)}</span>
          </span>
        ))}
        <span class="chart-note muted small numeric">
          {time !== undefined
            ? formatTime(new Date(time * 1000), new Date())
            : limit !== undefined && `limit ${format(limit)}`}
        </span>
      </div>
      {isMeasured ? (
        <div ref={holder} class="chart-plot" role="img" aria-label={title} />
      ) : (
        <p class="chart-missing muted">The server cannot measure this on its host.</p>
      )}
    </section>
  );
}

function formatValue(value: Value | undefined, format: (value: number) => string): string {
  return value === null || value === undefined ? "–" : format(value);
}

function optionsOf(
  { lines, format, minScale, base }: Pick<ChartProps, "lines" | "format" | "minScale" | "base">,
  onHover: (index: number | null) => void,
): uPlot.Options {
  const axis = {
    stroke: themeColor("--muted"),
    grid: { stroke: themeColor("--border"), width: 1 },
    ticks: { show: false },
    font: "11px system-ui, sans-serif",
  };
  return {
    width: 300,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, sync: { key: "job" } },
    scales: {
      x: { range: (_, min, max) => [Math.min(min, max - MIN_PERIOD_S), max] },
      y: { range: (_, _min, max) => [0, Math.max(minScale, (max ?? 0) * 1.1)] },
    },
    axes: [
      {
        ...axis,
        size: 28,
        values: (_, times) => times.map((time) => formatTime(new Date(time * 1000), new Date())),
      },
      {
        ...axis,
        size: 70,
        values: (_, values) => values.map(format),
        ...(base === 2 ? { incrs: BINARY_STEPS } : {}),
      },
    ],
    series: [
      {},
      ...lines.map(({ color }) => ({ stroke: themeColor(color), width: 1.5, points: { show: false } })),
      { stroke: themeColor("--warn"), width: 1, dash: [4, 4], points: { show: false } },
    ],
    hooks: { setCursor: [({ cursor }) => onHover(cursor.idx ?? null)] },
  };
}

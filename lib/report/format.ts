/** Numbers for people: few digits, with their units. */
import { capacityText, type Capacity } from '../models/capacities';

const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;
const DECIMAL = ['', 'k', 'M', 'G', 'T', 'P'] as const;

/** Three significant digits, without trailing zeros in fractions: 0.0123, 1.23, 12.3, 123, 1230. */
function digits(value: number): string {
  if (value === 0) return '0';
  return Math.abs(value) >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}

function scaled(value: number, base: number, units: readonly string[]): { text: string; unit: string } {
  let index = 0;
  let rest = value;
  // 999.6 would print as 1000 of the smaller unit.
  while (index < units.length - 1 && Math.abs(rest) >= base - 0.5) {
    rest /= base;
    index++;
  }
  return { text: digits(rest), unit: units[index] ?? '' };
}

/** Bytes in binary units: `1.5 KiB`. */
export function formatBytes(bytes: number): string {
  const { text, unit } = scaled(bytes, 1024, BINARY);
  return `${text} ${unit}`;
}

/** A count in decimal units: `124 M`. */
export function formatCount(value: number): string {
  const { text, unit } = scaled(value, 1000, DECIMAL);
  return unit === '' ? text : `${text} ${unit}`;
}

/** Seconds of a measurement: `27 ns`, `12.3 µs`, `4.56 ms`, `7.8 s`. */
export function formatSeconds(seconds: number): string {
  if (seconds === 0) return '0 s';
  if (seconds < 1e-6) return `${digits(seconds * 1e9)} ns`;
  if (seconds < 1e-3) return `${digits(seconds * 1e6)} µs`;
  return seconds < 1 ? `${digits(seconds * 1e3)} ms` : `${digits(seconds)} s`;
}

/** The rows and positions of a batch: `32 × 1024 positions`, or `32 rows × 64 source × 48 target`. */
export function formatCapacity({ rows, lengths }: Pick<Capacity, 'rows' | 'lengths'>): string {
  const [only, ...others] = Object.values(lengths);
  return only !== undefined && others.length === 0
    ? `${rows} × ${only} positions`
    : capacityText({ rows, lengths });
}

/** Seconds of waiting: `45s`, `3m 05s`, `2h 07m`, `-` when unknown. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return '-';
  const whole = Math.round(seconds);
  const two = (value: number): string => String(value).padStart(2, '0');
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`;
  return `${Math.floor(whole / 3600)}h ${two(Math.floor((whole % 3600) / 60))}m`;
}

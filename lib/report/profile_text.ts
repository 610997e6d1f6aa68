import { formatCapacity, formatCount, formatSeconds } from './format';
import { blockName } from './plan_table';
import { sumCalls, sumKinds, type CallSum, type Profile } from './profile';
import { textTable } from './table';
import { largestOf } from '../models/extremes';

const BAR_COLUMNS = 40;

/**
 * Prints a profile: its operations, its calls (repeated blocks share a row), bars of the time by kind, and totals.
 */
export function profileText(profile: Profile): string {
  const { calls, gradientAccumulationSteps: accumulation } = profile;
  const sections = [
    `${profile.device} (${profile.deviceDescription}) · ${profile.precision} · micro-batch of ` +
      `${formatCapacity(profile)}${accumulation > 1 ? `, ${accumulation} per step` : ''}`,
    heading(
      'operations of a step',
      table(
        profile,
        sumCalls(calls, ({ operation }) => [operation]),
      ),
    ),
    heading(
      'calls of a step',
      table(
        profile,
        sumCalls(calls, ({ section, name, operation }) => [blockName(name), operation, section]),
        true,
      ),
    ),
    heading('where the time goes', bars(profile)),
    totals(profile),
  ];
  return `${sections.join('\n\n')}\n`;
}

const heading = (title: string, content: string): string => `${title}\n\n${content}`;

const percent = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`;

function table(profile: Profile, sums: readonly CallSum[], withOperation = false): string {
  const total = sumCalls(profile.calls, () => ['total']).map((sum) => ({ ...sum, operation: '' }));
  const cells = ({ name, operation, count, seconds, plannedSeconds, bound }: CallSum): string[] => [
    name,
    ...(withOperation ? [operation] : []),
    String(count),
    formatSeconds(seconds),
    percent(seconds, profile.operationSeconds),
    ...(profile.chip === undefined
      ? []
      : [
          plannedSeconds === undefined ? '-' : formatSeconds(plannedSeconds),
          plannedSeconds === undefined ? '-' : percent(plannedSeconds, seconds),
          bound ?? '',
        ]),
  ];
  return textTable(
    [
      { title: withOperation ? 'name' : 'operation' },
      ...(withOperation ? [{ title: 'operation' }] : []),
      { title: 'calls', align: 'right' },
      { title: 'time', align: 'right' },
      { title: 'share', align: 'right' },
      ...(profile.chip === undefined
        ? []
        : ([
            { title: 'roofline', align: 'right' },
            { title: 'reached', align: 'right' },
            { title: 'bound by' },
          ] as const)),
    ],
    sums.map(cells),
    total.flatMap(cells),
  );
}

/** A bar for each kind; the solid part is its roofline time. */
function bars({ calls, operationSeconds }: Profile): string {
  const kinds = sumKinds(calls);
  const longest = largestOf(kinds.map(({ seconds }) => seconds));
  const rows = kinds.map(({ name, seconds, plannedSeconds = seconds }) => {
    const length = Math.max(1, Math.round((BAR_COLUMNS * seconds) / longest));
    const solid = Math.round(length * Math.min(1, plannedSeconds / seconds));
    const bar = '█'.repeat(solid) + '░'.repeat(length - solid);
    return [name, formatSeconds(seconds), percent(seconds, operationSeconds), bar];
  });
  return textTable(
    [
      { title: 'kind' },
      { title: 'time', align: 'right' },
      { title: 'share', align: 'right' },
      { title: calls.some(({ plannedSeconds }) => plannedSeconds !== undefined) ? '█ roofline' : '' },
    ],
    rows,
  );
}

function totals(profile: Profile): string {
  const { chip, plannedSeconds, operationSeconds, stepSeconds, tokensPerSecond } = profile;
  const rate = `${formatCount(tokensPerSecond)} tokens/s`;
  const lines = [
    ['sum of the operations', formatSeconds(operationSeconds)],
    ['a step in training', `${formatSeconds(stepSeconds)}, ${rate}`],
    chip === undefined || plannedSeconds === undefined
      ? ['roofline time', `unknown: ${profile.deviceDescription} is not in the table of chips`]
      : [
          'roofline time',
          `${formatSeconds(plannedSeconds)} on ${chip}, ${percent(plannedSeconds, stepSeconds)} of the step`,
        ],
  ] as const;
  return lines.map(([name, value]) => `${name.padEnd(23)}${value}`).join('\n');
}

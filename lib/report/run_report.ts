import path from 'node:path';
import { z } from 'zod';
import { messageOf, TesseraeError } from '../errors';
import { anObject, filePath } from '../models/argument_schemas';
import { parseConfig } from '../models/validation';
import { colorsFor } from './colors';
import { lossCurveSvg, lossCurveTerminal, type LossPoint } from './loss_curve';
import { makeFolder } from './make_folder';
import { MetricsFile, type MetricsRecord } from './metrics_file';
import { safeText } from './safe_text';
import { TrainingProgress, type ProgressState } from './progress';
import { replaceFile } from './replace_file';

/** The events that a report takes; a trainer's events have this form. */
export type ReportedEvent =
  | ({
      /** A point of the training loss. */
      readonly type: 'step';
    } & ProgressState)
  | {
      /** A point of the validation loss. */
      readonly type: 'evaluate';
      /** Number of steps before it. */
      readonly step: number;
      /** Mean loss per target, in nats. */
      readonly loss: number;
    }
  | {
      /** A checkpoint is on the disk. */
      readonly type: 'save';
      /** The step after which it was taken. */
      readonly step: number;
      /** Its folder. */
      readonly path: string;
    }
  | {
      /** A warning that does not end the run. */
      readonly type: 'warning';
      /** Number of steps so far. */
      readonly step: number;
      /** The text of the warning. */
      readonly message: string;
    }
  | {
      /** The run has ended. */
      readonly type: 'end';
      /** Number of steps of the run. */
      readonly step: number;
    };

const optionsSchema = z.strictObject({
  directory: filePath,
  maxSteps: z.int().min(1),
  title: z.string().optional(),
  progress: z.boolean().optional(),
  resumed: z.looseObject({ step: z.int().min(0), path: filePath }).optional(),
  follow: anObject<{ readonly globalStep: number }>().optional(),
});

/** The fields that every event has. */
const eventSchema = z.looseObject({ type: z.string(), step: z.int().min(0) });

const REFRESH_MILLISECONDS = 100;

/** What to report of a run, and where. */
export interface RunReportOptions {
  /** Folder of metrics.jsonl and loss.svg; created if it is missing. */
  readonly directory: string;
  /** Steps of the whole run. */
  readonly maxSteps: number;
  /** Title of the loss curve. Default: the folder's name. */
  readonly title?: string;
  /** Whether to show progress on standard error. Default true. */
  readonly progress?: boolean;
  /**
   * The checkpoint that the run resumes from: metrics.jsonl is cut to its step and continued, and the loss curve includes the
   * earlier steps. Default: a new run, with a new metrics.jsonl.
   */
  readonly resumed?: {
    /** Number of steps before it. */
    readonly step: number;
    /** Its folder. */
    readonly path: string;
  };
  /** The trainer whose steps the progress shows between events, ten times a second. Default: only the steps of events. */
  readonly follow?: {
    /** Number of steps so far. */
    readonly globalStep: number;
  };
}

/**
 * Shows a run's progress on standard error, writes its events to metrics.jsonl as they come, and draws its loss curve.
 *
 * @example
 * const report = await RunReport.create({ directory: 'runs/book', maxSteps: 1000, follow: trainer });
 * for await (const event of trainer) report.add(event);
 * await report.close();
 * console.log(report.lossCurve());
 */
export class RunReport {
  private readonly training: LossPoint[] = [];
  private readonly validation: LossPoint[] = [];
  private readonly timer: NodeJS.Timeout | undefined;
  private hidden = false;

  private constructor(
    private readonly options: RunReportOptions,
    private readonly metrics: MetricsFile,
    private readonly progress: TrainingProgress | undefined,
  ) {
    guardStandardError();
    const { follow } = options;
    if (!progress || !follow) return;
    const began = follow.globalStep;
    this.timer = setInterval(() => {
      if (follow.globalStep > began) progress.advance(follow.globalStep);
    }, REFRESH_MILLISECONDS).unref();
  }

  /**
   * Creates the folder, and starts a new metrics.jsonl or continues the old one.
   *
   * @throws TesseraeError `ERR_CONFIG` for a wrong option, or if the folder can't be written.
   */
  static async create(options: RunReportOptions): Promise<RunReport> {
    const { directory, resumed } = parseConfig(optionsSchema, options);
    const name = path.join(directory, 'metrics.jsonl');
    const current: { report?: RunReport } = {};
    const tell = (message: string): void => current.report?.warn(message);
    const { file, kept } = await makeFolder(directory)
      .then(async () =>
        resumed
          ? MetricsFile.resume(name, resumed.step, tell)
          : { file: await MetricsFile.create(name, tell), kept: [] },
      )
      .catch((cause: unknown) => {
        if (cause instanceof TesseraeError && cause.code !== 'ERR_CONFIG') throw cause;
        throw new TesseraeError(
          'ERR_CONFIG',
          `outputDir '${directory}' can't be written: ${messageOf((cause as Error).cause ?? cause)}`,
          {
            details: { path: 'training.outputDir' },
            cause,
          },
        );
      });
    const progress =
      options.progress === false ? undefined : new TrainingProgress({ total: options.maxSteps });
    const report = new RunReport(options, file, progress);
    current.report = report;
    if (resumed) report.takeUp(kept, resumed);
    return report;
  }

  /** Path of the metrics file: one JSON object per line. */
  get metricsPath(): string {
    return this.metrics.path;
  }

  /** Path of the loss curve that `close()` draws. */
  get lossCurvePath(): string {
    return path.join(this.options.directory, 'loss.svg');
  }

  /** Restores the earlier points. A crash may have come between a checkpoint and its line, which is then added. */
  private takeUp(
    kept: readonly MetricsRecord[],
    resumed: { readonly step: number; readonly path: string },
  ): void {
    for (const { type, step, loss } of kept) {
      if (typeof step !== 'number' || typeof loss !== 'number') continue;
      if (type === 'step') this.training.push({ step, loss });
      else if (type === 'evaluate') this.validation.push({ step, loss });
    }
    if (!kept.some(({ type, step }) => type === 'save' && step === resumed.step))
      this.metrics.write({ type: 'save', ...resumed });
  }

  /**
   * Reports an event; returns at once.
   *
   * @throws TesseraeError `ERR_CONFIG` if it is not an event.
   */
  add(event: ReportedEvent): void {
    parseConfig(eventSchema, event, { at: 'event' });
    this.metrics.write(plainValues(event));
    if (event.type === 'step') {
      this.training.push({ step: event.step, loss: event.loss });
      this.progress?.update(event);
    } else if (event.type === 'evaluate') {
      this.validation.push({ step: event.step, loss: event.loss });
      this.log(`step ${event.step} · validation loss ${event.loss.toFixed(4)}`);
    } else if (event.type === 'warning') {
      this.warn(event.message);
    }
  }

  /** Shown even if progress is not. */
  private warn(message: string): void {
    const text = `${colorsFor(process.stderr).red('warning')} ${safeText(message)}`;
    if (this.progress && !this.hidden) this.log(text);
    else process.stderr.write(`${text}\n`);
  }

  /** Shows a permanent line above the progress bar. */
  log(text: string): void {
    this.progress?.log(text);
  }

  /** Removes the progress bar. */
  hide(): void {
    this.hidden = true;
    clearInterval(this.timer);
    this.progress?.stop();
  }

  /**
   * Removes the progress bar, closes metrics.jsonl and draws loss.svg. A file that can't be written is reported on standard
   * error, not thrown, so that it neither hides the error that ended a run nor fails a finished one.
   */
  async close(): Promise<void> {
    this.hide();
    const title = this.options.title ?? path.basename(path.resolve(this.options.directory));
    await this.metrics.close().catch((error: unknown) => this.warn(messageOf(error)));
    try {
      await replaceFile(this.lossCurvePath, lossCurveSvg(this.training, this.validation, { title }));
    } catch (error) {
      this.warn(`'${this.lossCurvePath}' can't be written: ${messageOf(error)}`);
    }
  }

  /** The loss curve for a terminal; an empty string if there is none yet. */
  lossCurve(): string {
    const width = Math.min(process.stdout.columns || 80, 120);
    return lossCurveTerminal(this.training, this.validation, {
      width,
      color: colorsFor(process.stdout).isColorSupported,
    });
  }
}

let guarded = false;

/** Lets the run continue if standard error can't be written: without a listener, Node.js would end the process. */
function guardStandardError(): void {
  if (!guarded) process.stderr.on('error', () => undefined);
  guarded = true;
}

/** The fields of an event that a line of metrics can hold. */
function plainValues(event: object): MetricsRecord {
  return Object.fromEntries(
    Object.entries(event).filter(([, value]) => ['string', 'number', 'boolean'].includes(typeof value)),
  );
}

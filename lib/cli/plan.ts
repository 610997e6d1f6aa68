import { buildGraph } from '../models/families';
import { plan as planGraph, type OptimizerSettings, type Precision } from '../native';
import { planText, type Plan } from '../report/plan_table';
import { resolveTrainingArguments, type TrainingArguments } from '../training/arguments';
import { nativeOptimizer } from '../training/optimizer_settings';
import { readRunConfig } from './config';

/** What the command line says. */
export interface PlanCommand {
  readonly chip?: string;
  readonly precision?: Precision;
  readonly batchSize?: number;
  /** Bytes for which the largest batch is sought. */
  readonly memory?: number;
  readonly all: boolean;
  readonly json: boolean;
}

/** What of the training arguments decides what an update takes. */
function planned(training: TrainingArguments): { optimizer: OptimizerSettings; emaDecay: number } {
  const resolved = resolveTrainingArguments(training);
  return { optimizer: nativeOptimizer(resolved), emaDecay: resolved.emaDecay };
}

/** `tesserae plan`: tells what a training step would do, without doing it. Gives the exit code. */
export async function plan(file: string, command: PlanCommand): Promise<number> {
  const { model, training } = await readRunConfig(file);
  const result = planGraph(buildGraph(model), {
    rows: command.batchSize ?? training?.batchSize ?? 8,
    time: model.nPositions,
    gradientAccumulationSteps: training?.gradientAccumulationSteps ?? 1,
    ...(training === undefined ? {} : planned(training)),
    ...(command.chip === undefined ? {} : { chip: command.chip }),
    ...(command.precision === undefined ? {} : { precision: command.precision }),
    ...(command.memory === undefined ? {} : { memory: command.memory }),
  });
  process.stdout.write(
    command.json ? `${JSON.stringify(result, null, 2)}\n` : planText(result as Plan, { all: command.all }),
  );
  return 0;
}

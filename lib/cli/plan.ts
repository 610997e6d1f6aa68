import { buildGraph } from '../models/families';
import { plan as planGraph, type Precision } from '../native';
import { planText, type Plan } from '../report/plan_table';
import { resolveTrainingArguments } from '../training/arguments';
import { planSettings } from '../training/planning';
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

/** `tesserae plan`: tells what a training step would do, without doing it. Gives the exit code. */
export async function plan(file: string, command: PlanCommand): Promise<number> {
  const { model, training } = await readRunConfig(file);
  const graph = buildGraph(model);
  const result = planGraph(graph, {
    rows: command.batchSize ?? training?.batchSize ?? 8,
    time: model.nPositions,
    gradientAccumulationSteps: training?.gradientAccumulationSteps ?? 1,
    ...(training === undefined ? {} : planSettings(resolveTrainingArguments(training, 'training'), graph)),
    ...(command.chip === undefined ? {} : { chip: command.chip }),
    ...(command.precision === undefined ? {} : { precision: command.precision }),
    ...(command.memory === undefined ? {} : { memory: command.memory }),
  });
  process.stdout.write(
    command.json ? `${JSON.stringify(result, null, 2)}\n` : planText(result as Plan, { all: command.all }),
  );
  return 0;
}

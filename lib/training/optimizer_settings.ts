import { z } from 'zod';
import { TesseraeError } from '../errors';
import { fp32 } from '../models/device_numbers';
import { ownedText } from '../models/setting_text';
import { settings } from '../models/settings';
import type { OptimizerSettings, StateKind } from '../native';
import type { OptimizerArguments, OptimizerType } from './optimizer_settings.generated';

export type * from './optimizer_settings.generated';

/** Validates OptimizerType. */
export const optimizerSchema = z
  .enum(['adamw', 'adam', 'sgd', 'radam'])
  .describe(
    'Optimizers by name: AdamW (Loshchilov and Hutter 2019, algorithm 2), Adam with L2 decay (Kingma and Ba 2015, algorithm 1), ' +
      'SGD with or without momentum, RAdam (Liu et al. 2020, algorithm 2).',
  )
  .register(settings, { name: 'OptimizerType' });

const OPTIMIZERS = optimizerSchema.options;

/** Validates RAdamFirstSteps. */
export const radamFirstStepsSchema = z
  .enum(['torch', 'momentum', 'decayOnly', 'none'])
  .describe('What RAdam does in the first steps, when the variance of its adaptive rate is not known yet.')
  .register(settings, { name: 'RAdamFirstSteps' });

const ADAM = ['adamBeta1', 'adamBeta2', 'adamEpsilon'] as const;

/** The settings of each optimizer. */
const SETTINGS_OF: Readonly<Record<OptimizerType, readonly (keyof OptimizerArguments)[]>> = {
  adamw: ADAM,
  adam: ADAM,
  radam: [...ADAM, 'radamFirstSteps', 'decoupledWeightDecay'],
  sgd: ['momentum', 'nesterov'],
};

/** The schema has no defaults: settings that an optimizer does not have must stay absent. */
const DEFAULTS = {
  adamBeta1: 0.9,
  adamBeta2: 0.95,
  adamEpsilon: 1e-8,
  momentum: 0,
  nesterov: false,
  radamFirstSteps: 'torch',
} as const satisfies OptimizerArguments;

/** @param note - a remark on the default. */
function text(name: keyof OptimizerArguments, what: string, note = ''): string {
  const defaults: OptimizerArguments = DEFAULTS;
  const owners = OPTIMIZERS.filter((type) => SETTINGS_OF[type].includes(name));
  return ownedText(owners, what, defaults[name], note);
}

const decayRate = fp32(z.number().min(0).lt(1)).optional();

/** Validates OptimizerArguments, a part of the training arguments. */
export const optimizerArgumentsSchema = z
  .strictObject({
    adamBeta1: decayRate.describe(text('adamBeta1', 'decay rate of the first moment.')),
    adamBeta2: decayRate.describe(text('adamBeta2', 'decay rate of the second moment.')),
    adamEpsilon: fp32(z.number().gt(0).max(1))
      .optional()
      .describe(text('adamEpsilon', 'added to the root of the second moment.')),
    momentum: decayRate.describe(
      text('momentum', 'decay rate of the sum of gradients.', ', which keeps no moment'),
    ),
    nesterov: z.boolean().optional().describe(text('nesterov', 'look ahead by one step of momentum.')),
    radamFirstSteps: radamFirstStepsSchema
      .optional()
      .describe(
        text(
          'radamFirstSteps',
          'the steps before the rectifier is defined (5 for adamBeta2 from 0.98). `torch` and `momentum` move by the first ' +
            'moment (torch.optim.RAdam; LiyuanLucasLiu/RAdam with degenerated_to_sgd), `decayOnly` only decays, `none` does ' +
            'nothing (LiyuanLucasLiu/RAdam).',
        ),
      ),
    decoupledWeightDecay: z
      .boolean()
      .optional()
      .describe(
        text(
          'decoupledWeightDecay',
          'decay the weights as AdamW does, not through the gradient. Default: false for `torch`, else true.',
        ),
      ),
  })
  .describe('Settings that only some optimizers have; a setting of another optimizer is an error.')
  .register(settings, { name: 'OptimizerArguments' });

/** An optimizer's settings with every default filled in; settings of other optimizers are absent. */
export type ResolvedOptimizer = {
  readonly optim: OptimizerType;
  readonly weightDecay: number;
} & OptimizerArguments;

/**
 * Fills in the settings that the optimizer has.
 *
 * @param at - path of the arguments, for messages.
 * @throws TesseraeError `ERR_CONFIG` for a setting that it does not have, or for Nesterov's momentum without momentum.
 */
export function resolveOptimizer(
  given: OptimizerArguments & { readonly optim: OptimizerType; readonly weightDecay?: number },
  at = '',
): ResolvedOptimizer {
  const { optim } = given;
  const refuse = (name: string, why: string): never => {
    const path = at === '' ? name : `${at}.${name}`;
    throw new TesseraeError('ERR_CONFIG', `${path} ${why}`, { details: { path } });
  };
  for (const name of new Set(Object.values(SETTINGS_OF).flat()))
    if (given[name] !== undefined && !SETTINGS_OF[optim].includes(name)) {
      const owners = OPTIMIZERS.filter((owner) => SETTINGS_OF[owner].includes(name));
      refuse(
        name,
        `belongs to ${owners.map((owner) => `'${owner}'`).join(', ')}, but optim is '${optim}': leave it out`,
      );
    }
  const common = { optim, weightDecay: given.weightDecay ?? (optim === 'adamw' ? 0.1 : 0) };
  if (optim === 'sgd') {
    const { momentum, nesterov } = { ...DEFAULTS, ...given };
    if (nesterov && momentum === 0)
      refuse(
        'nesterov',
        'needs momentum, but momentum is 0: set momentum, such as 0.9, or leave nesterov out',
      );
    return { ...common, momentum, nesterov };
  }
  const { adamBeta1, adamBeta2, adamEpsilon } = { ...DEFAULTS, ...given };
  const adam = { ...common, adamBeta1, adamBeta2, adamEpsilon };
  if (optim !== 'radam') return adam;
  const { radamFirstSteps } = { ...DEFAULTS, ...given };
  const { decoupledWeightDecay = radamFirstSteps !== 'torch' } = given;
  return { ...adam, radamFirstSteps, decoupledWeightDecay };
}

/** The optimizer in the form that native code takes. */
export function nativeOptimizer(resolved: ResolvedOptimizer): OptimizerSettings {
  const { optim, weightDecay, ...own } = { ...DEFAULTS, ...resolved };
  const adam = { beta1: own.adamBeta1, beta2: own.adamBeta2, epsilon: own.adamEpsilon, weightDecay };
  switch (optim) {
    case 'sgd':
      return { type: optim, momentum: own.momentum, nesterov: own.nesterov, weightDecay };
    case 'radam':
      return {
        type: optim,
        ...adam,
        firstSteps: own.radamFirstSteps,
        decoupledWeightDecay: own.decoupledWeightDecay ?? false,
      };
    default:
      return { type: optim, ...adam };
  }
}

/** The moments that an optimizer keeps per parameter, by their names in PyTorch. */
export function momentsOf({ optim, momentum = 0 }: ResolvedOptimizer): Readonly<Record<string, StateKind>> {
  if (optim !== 'sgd') return { exp_avg: 'moment1', exp_avg_sq: 'moment2' };
  return momentum > 0 ? { momentum_buffer: 'moment1' } : {};
}

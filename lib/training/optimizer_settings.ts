import { z } from 'zod';
import { TesseraeError } from '../errors';
import { fp32 } from '../models/device_numbers';
import type { OptimizerSettings, StateKind } from '../native';

/**
 * Optimizers by name: AdamW (Loshchilov and Hutter 2019, algorithm 2), Adam with L2 decay (Kingma and Ba 2015, algorithm 1),
 * SGD with or without momentum, RAdam (Liu et al. 2020, algorithm 2).
 */
export type OptimizerType = 'adamw' | 'adam' | 'sgd' | 'radam';
export const OPTIMIZERS = ['adamw', 'adam', 'sgd', 'radam'] as const satisfies OptimizerType[];

/** What RAdam does in the steps in which the variance of its adaptive rate is not known yet. */
export type RAdamFirstSteps = 'torch' | 'momentum' | 'decayOnly' | 'none';
export const RADAM_FIRST_STEPS = [
  'torch',
  'momentum',
  'decayOnly',
  'none',
] as const satisfies RAdamFirstSteps[];

/** What only some optimizers have; a setting that the optimizer does not have is refused. */
export interface OptimizerArguments {
  /** `adamw`, `adam`, `radam`: decay rate of the first moment, in [0, 1). Default 0.9. */
  readonly adamBeta1?: number;
  /** The same: of the second moment, in [0, 1). Default 0.95. */
  readonly adamBeta2?: number;
  /** The same: added to the root of the second moment, in (0, 1]. Default 1e-8. */
  readonly adamEpsilon?: number;
  /** `sgd`: decay rate of the sum of gradients, in [0, 1). Default 0, which keeps no moment. */
  readonly momentum?: number;
  /** `sgd`: look ahead by one step of momentum. Default false. */
  readonly nesterov?: boolean;
  /**
   * `radam`: the steps before the rectifier is defined (5 for adamBeta2 from 0.98). `torch` and `momentum` move by the
   * first moment (torch.optim.RAdam; LiyuanLucasLiu/RAdam with degenerated_to_sgd), `decayOnly` only decays, `none` does
   * nothing (LiyuanLucasLiu/RAdam). Default 'torch'.
   */
  readonly radamFirstSteps?: RAdamFirstSteps;
  /** `radam`: decay the weights as AdamW does, not through the gradient. Default: false for `torch`, else true. */
  readonly decoupledWeightDecay?: boolean;
}

const beta = (what: string) => fp32(z.number().min(0).lt(1)).optional().describe(what);

/** The part of the training arguments' schema that is about the optimizer. */
export const optimizerFields = {
  optim: z.enum(OPTIMIZERS).default('adamw').describe('The optimizer'),
  weightDecay: fp32(z.number().min(0).max(100))
    .optional()
    .describe('Decay of matrices (default: 0.1 for adamw, 0 for others)'),
  adamBeta1: beta("adamw, adam, radam: Adam's beta 1 (default 0.9)"),
  adamBeta2: beta("adamw, adam, radam: Adam's beta 2 (default 0.95)"),
  adamEpsilon: fp32(z.number().gt(0).max(1))
    .optional()
    .describe("adamw, adam, radam: Adam's epsilon (default 1e-8)"),
  momentum: beta('sgd: momentum (default 0)'),
  nesterov: z.boolean().optional().describe("sgd: Nesterov's momentum (default false)"),
  radamFirstSteps: z
    .enum(RADAM_FIRST_STEPS)
    .optional()
    .describe('radam: what the steps before the rectifier is defined do (default torch)'),
  decoupledWeightDecay: z
    .boolean()
    .optional()
    .describe('radam: decay as AdamW does (default: false for torch, else true)'),
};

const ADAM = ['adamBeta1', 'adamBeta2', 'adamEpsilon'] as const;

/** Which of the settings an optimizer has. */
const SETTINGS_OF: Readonly<Record<OptimizerType, readonly (keyof OptimizerArguments)[]>> = {
  adamw: ADAM,
  adam: ADAM,
  radam: [...ADAM, 'radamFirstSteps', 'decoupledWeightDecay'],
  sgd: ['momentum', 'nesterov'],
};

type GivenSettings = { readonly [K in keyof OptimizerArguments]?: OptimizerArguments[K] | undefined };

/** An optimizer's settings with every default filled in; those that it does not have are absent. */
export type ResolvedOptimizer = {
  readonly optim: OptimizerType;
  readonly weightDecay: number;
} & OptimizerArguments;

/**
 * Fills in the settings that the optimizer has.
 *
 * @param at - where the arguments stand, for messages.
 * @throws TesseraeError `ERR_CONFIG` for a setting that it does not have, and for Nesterov's momentum without momentum.
 */
export function resolveOptimizer(
  given: GivenSettings & { readonly optim: OptimizerType; readonly weightDecay?: number | undefined },
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
    const { momentum = 0, nesterov = false } = given;
    if (nesterov && momentum === 0)
      refuse(
        'nesterov',
        'looks ahead by momentum, but momentum is 0: set momentum, such as 0.9, or leave it out',
      );
    return { ...common, momentum, nesterov };
  }
  const { adamBeta1 = 0.9, adamBeta2 = 0.95, adamEpsilon = 1e-8 } = given;
  const adam = { ...common, adamBeta1, adamBeta2, adamEpsilon };
  if (optim !== 'radam') return adam;
  const { radamFirstSteps = 'torch', decoupledWeightDecay = radamFirstSteps !== 'torch' } = given;
  return { ...adam, radamFirstSteps, decoupledWeightDecay };
}

/** The optimizer as native code takes it. */
export function nativeOptimizer(resolved: ResolvedOptimizer): OptimizerSettings {
  const { optim, weightDecay, adamBeta1 = 0.9, adamBeta2 = 0.95, adamEpsilon = 1e-8 } = resolved;
  const adam = { beta1: adamBeta1, beta2: adamBeta2, epsilon: adamEpsilon, weightDecay };
  switch (optim) {
    case 'sgd':
      return {
        type: optim,
        momentum: resolved.momentum ?? 0,
        nesterov: resolved.nesterov ?? false,
        weightDecay,
      };
    case 'radam':
      return {
        type: optim,
        ...adam,
        firstSteps: resolved.radamFirstSteps ?? 'torch',
        decoupledWeightDecay: resolved.decoupledWeightDecay ?? false,
      };
    default:
      return { type: optim, ...adam };
  }
}

/** The moments that an optimizer keeps of each parameter, by the names that PyTorch's has for them. */
export function momentsOf({ optim, momentum = 0 }: ResolvedOptimizer): Readonly<Record<string, StateKind>> {
  if (optim !== 'sgd') return { exp_avg: 'moment1', exp_avg_sq: 'moment2' };
  return momentum > 0 ? { momentum_buffer: 'moment1' } : {};
}

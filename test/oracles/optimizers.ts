import type { OptimizerSettings } from '../../lib/native';

/** What an optimizer keeps of one parameter; a moment that it does not use stays zero. */
export interface OptimizerState {
  readonly parameter: Float64Array;
  readonly moment1: Float64Array;
  readonly moment2: Float64Array;
}

/** The settings of a step. */
export interface OptimizerStep {
  /** From 1. */
  readonly t: number;
  readonly learningRate: number;
  /** In place of the optimizer's. */
  readonly weightDecay?: number;
  /** In place of momentum or beta 1. */
  readonly momentum?: number;
}

export const optimizerState = (initial: ArrayLike<number>): OptimizerState => ({
  parameter: Float64Array.from(initial),
  moment1: new Float64Array(initial.length),
  moment2: new Float64Array(initial.length),
});

/**
 * RAdam's rectifier of step t, with the second moment's correction √(1 − β2^t): what lr · m ÷ (1 − β1^t) ÷ (√v + ε) is
 * multiplied by (Liu et al. 2020, algorithm 2); undefined while ρ is too small.
 */
export function rectifier(t: number, beta2: number): { rho: number; r: number } {
  const longest = 2 / (1 - beta2) - 1;
  const rho = longest - (2 * t * beta2 ** t) / (1 - beta2 ** t);
  const r = Math.sqrt(((rho - 4) * (rho - 2) * longest) / ((longest - 4) * (longest - 2) * rho));
  return { rho, r };
}

/** One step in place, from the formulas of the papers and of torch.optim. */
export function optimizerStep(
  { parameter: p, moment1: m, moment2: v }: OptimizerState,
  gradient: ArrayLike<number>,
  o: OptimizerSettings,
  { t, learningRate: lr, weightDecay = o.weightDecay, momentum }: OptimizerStep,
): void {
  for (let i = 0; i < p.length; i++) {
    if (o.type === 'sgd') {
      const keep = momentum ?? o.momentum;
      const g = gradient[i]! + weightDecay * p[i]!;
      m[i] = keep * m[i]! + g;
      p[i]! -= lr * (o.nesterov ? g + keep * m[i]! : m[i]!);
      continue;
    }
    const beta1 = momentum ?? o.beta1;
    const { beta2, epsilon } = o;
    const decoupled = o.type === 'adamw' || (o.type === 'radam' && o.decoupledWeightDecay);
    const g = gradient[i]! + (decoupled ? 0 : weightDecay * p[i]!);
    m[i] = beta1 * m[i]! + (1 - beta1) * g;
    v[i] = beta2 * v[i]! + (1 - beta2) * g * g;
    const mean = m[i]! / (1 - beta1 ** t);
    const { rho, r } = rectifier(t, beta2);
    const first = o.type === 'radam' && rho < 5 ? o.firstSteps : undefined;
    if (first === 'none') continue;
    if (decoupled) p[i]! -= lr * weightDecay * p[i]!;
    if (first === 'decayOnly') continue;
    if (first !== undefined) p[i]! -= lr * mean;
    else if (o.type === 'radam')
      p[i]! -= (lr * r * Math.sqrt(1 - beta2 ** t) * mean) / (Math.sqrt(v[i]!) + epsilon);
    else p[i]! -= (lr * mean) / (Math.sqrt(v[i]! / (1 - beta2 ** t)) + epsilon);
  }
}

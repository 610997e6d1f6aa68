import { companionsOf } from '../checkpoint/companions';
import type { Model } from '../models/model';
import type { TokenSet } from './token_set';

/** The tokens that start and end texts, according to a model. */
export interface ModelRoles {
  /** Token that replaces an empty prompt. */
  readonly start?: number;
  /** Tokens that end a text; empty if it names none. */
  readonly ends: readonly number[];
}

/**
 * The roles in the generation_config.json of a model, else those in its configuration.
 *
 * @param tokens - ids that have a token; others have no role.
 */
export function rolesOf(model: Model, tokens: TokenSet): ModelRoles {
  const { generation = {} } = companionsOf(model);
  const known = (ids: unknown): number[] =>
    (Array.isArray(ids) ? (ids as unknown[]) : [ids]).filter(
      (id): id is number => typeof id === 'number' && tokens.has(id),
    );
  const first = (...sources: readonly unknown[]): readonly number[] =>
    sources.map(known).find((ids) => ids.length > 0) ?? [];
  const { bosTokenId, eosTokenId } = model.tokens('sampling');
  const [start] = first(generation['bos_token_id'], bosTokenId);
  const ends = first(generation['eos_token_id'], eosTokenId);
  return { ends, ...(start === undefined ? {} : { start }) };
}

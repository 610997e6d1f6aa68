import { companionsOf } from '../checkpoint/companions';
import type { Model } from '../models/model';
import type { TokenSet } from './token_set';

/** Which tokens a model itself says that texts begin and end with. */
export interface ModelRoles {
  /** Token that an empty prompt becomes. */
  readonly start?: number;
  /** Tokens that end a text; empty where it names none. */
  readonly ends: readonly number[];
}

/**
 * What the generation_config.json that a model came with says, else its configuration.
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

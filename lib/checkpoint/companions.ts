import type { JsonObject } from '../data/token_roles';
import path from 'node:path';
import { z } from 'zod';
import { GENERATION_CONFIG } from '../data/tokenizer_folder';
import type { Model } from '../models/model';
import { readJson } from './json_file';
import { isFile } from '../files/regular_file';

/** What stood beside the weights that a model was loaded from, says nothing of its function, and is written again with it. */
export interface Companions {
  /** Keys of config.json that no model of ours reads, such as `pad_token_id`. */
  readonly config: JsonObject;
  /** generation_config.json, where there was one: how transformers generates with the model. */
  readonly generation?: JsonObject | undefined;
}

const remembered = new WeakMap<Model, Companions>();

/** Notes what a model came with. */
export function rememberCompanions(model: Model, companions: Companions): void {
  remembered.set(model, companions);
}

/** What a model came with; nothing for one that was not loaded. */
export const companionsOf = (model: Model): Companions => remembered.get(model) ?? { config: {} };

/**
 * What generation_config.json says; undefined where there is none.
 *
 * @throws TesseraeError `ERR_CHECKPOINT` for one that can't be read.
 */
export async function readGeneration(directory: string): Promise<JsonObject | undefined> {
  if (!(await isFile(path.join(directory, GENERATION_CONFIG)))) return undefined;
  return readJson(directory, GENERATION_CONFIG, z.looseObject({}), { rounds: true });
}

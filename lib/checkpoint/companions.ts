import type { JsonObject } from '../data/token_roles';
import path from 'node:path';
import { z } from 'zod';
import { GENERATION_CONFIG } from '../data/tokenizer_folder';
import type { Model } from '../models/model';
import { readJson } from './json_file';
import { isFile } from '../files/regular_file';

/** Settings from a model's checkpoint that don't affect its function and are saved with it again. */
export interface Companions {
  /** Keys of config.json that no model here reads, such as `pad_token_id`. */
  readonly config: JsonObject;
  /** The generation_config.json of transformers, if there was one. */
  readonly generation?: JsonObject | undefined;
}

const remembered = new WeakMap<Model, Companions>();

/** Records the companions of a model. */
export function rememberCompanions(model: Model, companions: Companions): void {
  remembered.set(model, companions);
}

/** The companions of a model; empty if it was not loaded. */
export const companionsOf = (model: Model): Companions => remembered.get(model) ?? { config: {} };

/**
 * The contents of generation_config.json; undefined if it is missing.
 *
 * @throws TesseraeError `ERR_CHECKPOINT` if it can't be read.
 */
export async function readGeneration(directory: string): Promise<JsonObject | undefined> {
  if (!(await isFile(path.join(directory, GENERATION_CONFIG)))) return undefined;
  return readJson(directory, GENERATION_CONFIG, z.looseObject({}), { rounds: true });
}

import { addedIds } from './json_tokenizer/contents';
import type { JsonObject, KnownTokens } from './token_roles';

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isToken = (value: unknown): value is { readonly content: string; readonly special?: unknown } =>
  isObject(value) && typeof value['content'] === 'string';

/**
 * The tokens that the text of a tokenizer.json names; none for any other text: the tokenizer made from it reports what is
 * wrong.
 */
export function knownTokens(json: string): KnownTokens {
  const { added_tokens: added, model } = parsed(json);
  const tokens = (Array.isArray(added) ? added : []).filter(isToken);
  const ids = new Map<string, number>();
  const { vocab, unk_token: unknown, unk_id: unknownId } = isObject(model) ? model : {};
  const note = (token: unknown, id: unknown): void => {
    if (typeof token === 'string' && typeof id === 'number') ids.set(token, id);
  };
  if (Array.isArray(vocab))
    for (const [id, entry] of vocab.entries()) note(Array.isArray(entry) ? entry[0] : undefined, id);
  else if (isObject(vocab)) for (const [token, id] of Object.entries(vocab)) note(token, id);
  const addedTokens = addedIds(tokens, ids);
  for (const [content, id] of addedTokens) ids.set(content, id);
  const special = new Map<string, number>();
  for (const { content, special: isSpecial } of tokens) {
    const id = addedTokens.get(content);
    if (isSpecial === true && id !== undefined) special.set(content, id);
  }
  let names: Map<number, string> | undefined;
  const tokenOf = (id: number): string | undefined => {
    names ??= new Map(Array.from(ids, ([token, one]) => [one, token]));
    return names.get(id);
  };
  const unknownToken =
    typeof unknown === 'string' ? unknown : typeof unknownId === 'number' ? tokenOf(unknownId) : undefined;
  return { size: ids.size, special, unknown: unknownToken, idOf: (token) => ids.get(token), tokenOf };
}

function parsed(json: string): JsonObject {
  try {
    const value: unknown = JSON.parse(json.replace(/^\uFEFF/, ''));
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

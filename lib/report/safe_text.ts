/** Makes text from files and users safe to show: a terminal obeys the control characters that it receives. */

// C0 except tab and line feed, DEL and C1; then the characters that disguise text by changing its direction.
const UNSAFE = String.raw`(?![\t\n])[\p{Cc}\u202A-\u202E\u2066-\u2069]`;
const UNSAFE_TEXT = new RegExp(UNSAFE, 'gu');
/** Colours, bold and dim, as picocolors makes them. */
const UNSAFE_OR_STYLE = new RegExp(String.raw`\u001B\[\d{1,2}m|${UNSAFE}`, 'gu');

/** Replaces control characters except tab and line feed, and those that change the direction, with U+FFFD. */
export const safeText = (text: string): string => text.replace(UNSAFE_TEXT, '\uFFFD');

/** Like safeText, but keeps colours: for our own lines, whose foreign parts went through safeText. */
export const safeLine = (text: string): string =>
  text.replace(UNSAFE_OR_STYLE, (found) => (found.length > 1 ? found : '\uFFFD'));

/** The same JSON value, with escapes for the characters that safeText replaces. */
export const safeJson = (json: string): string =>
  json.replace(UNSAFE_TEXT, (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** What may be shown of text that comes from files and users: a terminal obeys what it is sent. */

// C0 but tab and line feed, DEL and C1; then the characters that make text look like other text by turning its direction.
const UNSAFE = String.raw`(?![\t\n])[\p{Cc}\u202A-\u202E\u2066-\u2069]`;
const UNSAFE_TEXT = new RegExp(UNSAFE, 'gu');
/** Colours, bold and dim, as picocolors makes them. */
const UNSAFE_OR_STYLE = new RegExp(String.raw`\u001B\[\d{1,2}m|${UNSAFE}`, 'gu');

/** Text with U+FFFD for each control character but tab and line feed, and for those that override the direction. */
export const safeText = (text: string): string => text.replace(UNSAFE_TEXT, '\uFFFD');

/** As safeText, and leaves colours: for lines of ours, whose foreign parts went through safeText alone. */
export const safeLine = (text: string): string =>
  text.replace(UNSAFE_OR_STYLE, (found) => (found.length > 1 ? found : '\uFFFD'));

/** JSON of the same value, with escapes for what safeText replaces. */
export const safeJson = (json: string): string =>
  json.replace(UNSAFE_TEXT, (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, '0')}`);

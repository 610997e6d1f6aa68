/** What pictures have in common: size, font, white ground and a title at the left margin. */
export function svgDocument(
  { width, height, title, left }: { width: number; height: number; title: string; left: number },
  content: readonly string[],
): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" ` +
      'font-family="system-ui, sans-serif" font-size="12" fill="#333">',
    `<title>${escapeXml(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="${left}" y="26" font-size="16" font-weight="600">${escapeXml(title)}</text>`,
    ...content,
    '</svg>',
    '',
  ].join('\n');
}

const XML: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
};

/** Escapes text for XML. */
export const escapeXml = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => XML[character] ?? character);

// Checks the links of Markdown pages: each linked file exists, and so does the heading of a #fragment. Usage: node
// scripts/check_links.mjs PAGE-OR-FOLDER...
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

const headings = new Map();

/** The fragments of a page, as GitHub makes them of its headings. */
function fragmentsOf(page) {
  if (!headings.has(page)) {
    const seen = new Map();
    const found = prose(page)
      .split('\n')
      .map((line) => /^#{1,6} +(.*?)\s*$/.exec(line)?.[1])
      .filter((title) => title !== undefined)
      .map((title) => {
        const plain = title
          .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
          .replace(/\\(.)/g, '$1')
          .toLowerCase();
        const slug = plain.replace(/[^\p{L}\p{N}\p{M}_ -]/gu, '').replaceAll(' ', '-');
        const before = seen.get(slug) ?? 0;
        seen.set(slug, before + 1);
        return before === 0 ? slug : `${slug}-${before}`;
      });
    headings.set(page, new Set(found));
  }
  return headings.get(page);
}

/** A page without its code. */
function prose(page) {
  return readFileSync(page, 'utf8')
    .replace(/^( *)(`{3,})[^]*?^\1\2 *$/gm, '')
    .replace(/(`+)(?!`)[^]*?(?<!`)\1(?!`)/g, (code) => code.replace(/[[\]()]/g, ''));
}

function brokenLinks(page) {
  const targets = [...prose(page).matchAll(/\]\(<?([^)\s>]+)>?(?: "[^"]*")?\)/g)].map(([, target]) => target);
  return targets.filter((target) => {
    if (/^[a-z]+:/i.test(target)) return false;
    const [file, fragment] = target.split('#');
    const linked = file === '' ? page : path.resolve(path.dirname(page), decodeURI(file));
    if (!statSync(linked, { throwIfNoEntry: false })) return true;
    return fragment !== undefined && linked.endsWith('.md') && !fragmentsOf(linked).has(fragment);
  });
}

const pages = process.argv.slice(2).flatMap((given) =>
  statSync(given).isDirectory()
    ? readdirSync(given, { recursive: true })
        .filter((name) => name.endsWith('.md'))
        .map((name) => path.join(given, name))
    : [given],
);
let broken = 0;
for (const page of pages)
  for (const target of brokenLinks(page)) {
    console.error(`${page}: there is no ${target}`);
    broken++;
  }
if (broken > 0) process.exit(1);
console.log(`${pages.length} pages: every link leads somewhere`);

/**
 * Decides which regular expressions of a tokenizer.json may run. The library matches them with Oniguruma, which backtracks,
 * and ends the process after ten million steps back in one match. A pattern is accepted if the steps back of one match are at
 * most proportional to the length of the text; unknown syntax is refused.
 */

/** Longest pattern in use: 400 characters. */
const MOST_PATTERN = 4096;
/** Repetitions above this count as unbounded. */
const FEW = 32;
/** Oniguruma unrolls repetitions when it compiles them. */
const MOST_REPEATS = 256;
const MOST_UNROLLED = 4096;
const MOST_DEPTH = 16;
/** In texts of 65,536 characters they give half of the steps that the library allows. */
const MOST_CHOICES = 80;

/** What one part of a pattern can do. */
interface Part {
  /** Fewest characters that it takes. */
  readonly least: number;
  /** Whether there is a text on which it fails. */
  readonly canFail: boolean;
  /** Whether it matches a text in at most one way, so that there is no choice to backtrack to. */
  readonly isFixed: boolean;
  /** Ways to take a text, without those that its runs have. */
  readonly choices: number;
  /** Runs of any length that a match steps back into where what follows fails. */
  readonly runs: number;
  /** The steps back of one match grow with the length of the text to this power. */
  readonly degree: number;
  /** The character that it must begin with, where there is only one. */
  readonly first?: string | undefined;
}

class Refusal extends Error {}

const refuse = (why: string): never => {
  throw new Refusal(why);
};

/** Why a pattern may not run; undefined for one that may. */
export function refusalOf(pattern: string): string | undefined {
  try {
    const { degree, choices } = new Parser(pattern).parse();
    if (degree > 1) return 'several unbounded repetitions can backtrack together';
    if (choices > MOST_CHOICES) return `a text can be matched in more than ${MOST_CHOICES} ways`;
    return undefined;
  } catch (error) {
    if (error instanceof Refusal) return error.message;
    throw error;
  }
}

/**
 * The start of the pattern of GPT-4o's tokenizer and its successors, up to the digits: capitals without a following small
 * letter match next.
 */
const CASED_WORDS =
  /^\[\^\\r\\n\\p\{L\}\\p\{N\}\]\?\[\\p\{Lu\}\\p\{Lt\}\\p\{Lm\}\\p\{Lo\}\\p\{M\}\]\*\[\\p\{Ll\}\\p\{Lm\}\\p\{Lo\}\\p\{M\}\]\+(?:\(\?i:[^)]*\)\?)?\|(?=\[\^\\r\\n\\p\{L\}\\p\{N\}\]\?\[\\p\{Lu\}\\p\{Lt\}\\p\{Lm\}\\p\{Lo\}\\p\{M\}\]\+\[\\p\{Ll\}\\p\{Lm\}\\p\{Lo\}\\p\{M\}\]\*)/;

/** The end of most patterns: the last two match the white space that the first stepped back from. */
const WHITE_SPACE = /(?:\|\\s\*\[\\r\\n\]\+?)?\|\\s\+\(\?!\\S\)\|\\s\+$/;

/** Whether a search in a text takes a time that is at most proportional to its length. */
export function isLinear(pattern: string): boolean {
  const rest = pattern
    .replaceAll('\r', '\\r')
    .replaceAll('\n', '\\n')
    .replace(CASED_WORDS, '')
    .replace(WHITE_SPACE, '|\\s+');
  return new Parser(rest).parse().degree === 0;
}

/** The fewest characters that a pattern takes. */
export const leastLength = (pattern: string): number => new Parser(pattern).parse().least;

/** Characters that an escape writes. */
const CONTROLS: Readonly<Record<string, string>> = {
  ...{ n: '\n', r: '\r', t: '\t', f: '\f', v: '\v', a: '\x07', e: '\x1b' },
};

const EMPTY: Part = { least: 0, canFail: false, isFixed: true, choices: 1, runs: 0, degree: 0 };
const ANCHOR: Part = { ...EMPTY, canFail: true };
const character = (first?: string): Part => ({ ...ANCHOR, least: 1, first });

/** Reads the part of Oniguruma's syntax that tokenizers use. */
class Parser {
  private at = 0;
  private depth = 0;
  private ignoresCase = false;

  constructor(private readonly pattern: string) {
    if (pattern.length > MOST_PATTERN) refuse(`it is longer than ${MOST_PATTERN} characters`);
  }

  parse(): Part {
    const part = this.alternation();
    return this.at < this.pattern.length ? refuse('it has an unmatched closing parenthesis') : part;
  }

  private peek(text: string): boolean {
    return this.pattern.startsWith(text, this.at);
  }

  private take(text: string): boolean {
    if (!this.peek(text)) return false;
    this.at += text.length;
    return true;
  }

  private alternation(): Part {
    if (++this.depth > MOST_DEPTH) refuse(`parentheses are nested deeper than ${MOST_DEPTH}`);
    const branches = [this.sequence()];
    while (this.take('|')) branches.push(this.sequence());
    this.depth--;
    const [only] = branches;
    if (branches.length === 1 && only) return only;
    const firsts = branches.map(({ first }) => first);
    const isDistinct = !firsts.includes(undefined) && new Set(firsts).size === firsts.length;
    return {
      least: branches.reduce((least, one) => Math.min(least, one.least), Infinity),
      canFail: branches.every(({ canFail }) => canFail),
      isFixed: isDistinct && branches.every(({ isFixed }) => isFixed),
      choices: branches.reduce((sum, one) => sum + one.choices, 0),
      runs: branches.reduce((most, one) => Math.max(most, one.runs), 0),
      degree: branches.reduce((most, one) => Math.max(most, one.degree), 0),
    };
  }

  private sequence(): Part {
    let whole: Part | undefined;
    while (this.at < this.pattern.length && !this.peek('|') && !this.peek(')')) {
      const next = this.repeated(this.atom());
      whole = whole ? follow(whole, next) : next;
    }
    return whole ?? EMPTY;
  }

  private repeated(atom: Part): Part {
    let part = atom;
    for (let count = 0; ; count++) {
      const range = this.quantifier();
      if (!range) return part;
      if (count > 0) refuse('a repetition is repeated');
      const [least, most] = range;
      const isPossessive = this.take('+');
      if (!isPossessive) this.take('?');
      part = repeat(part, least, most, isPossessive);
    }
  }

  private quantifier(): readonly [number, number] | undefined {
    if (this.take('*')) return [0, Infinity];
    if (this.take('+')) return [1, Infinity];
    if (this.take('?')) return [0, 1];
    const found = /^\{(\d*)(,?)(\d*)\}/.exec(this.pattern.slice(this.at, this.at + 20));
    if (!found) return this.peek('{') ? refuse('a brace is neither a repetition nor escaped') : undefined;
    this.at += found[0].length;
    const [, low = '', comma, high = ''] = found;
    const least = low === '' ? 0 : Number(low);
    const most = comma === '' ? least : high === '' ? Infinity : Number(high);
    if (least > most || least > MOST_REPEATS || (most !== Infinity && most > MOST_REPEATS))
      refuse(`a repetition is not within 0 to ${MOST_REPEATS}`);
    return [least, most];
  }

  private atom(): Part {
    if (this.take('(')) return this.group();
    if (this.take('[')) return this.set();
    if (this.take('\\')) return this.escape();
    if (this.take('^') || this.take('$')) return ANCHOR;
    const point = this.pattern.codePointAt(this.at) ?? 0;
    const text = String.fromCodePoint(point);
    if ('*+?{'.includes(text)) refuse('a repetition has nothing to repeat');
    this.at += text.length;
    return character(text === '.' || this.ignoresCase ? undefined : text);
  }

  private group(): Part {
    const ignoresCase = this.ignoresCase;
    const close = (part: Part): Part => {
      if (!this.take(')')) refuse('a parenthesis is not closed');
      this.ignoresCase = ignoresCase;
      return part;
    };
    if (!this.take('?')) return close(this.alternation());
    for (const look of ['=', '!', '<=', '<!'])
      if (this.take(look)) {
        // After a lookaround, a match does not backtrack into it.
        return { ...ANCHOR, degree: close(this.alternation()).degree };
      }
    if (this.take('>')) return { ...close(this.alternation()), runs: 0, choices: 1, isFixed: true };
    if (this.take(':')) return close(this.alternation());
    if (this.take('i:')) {
      this.ignoresCase = true;
      return close(this.alternation());
    }
    return refuse(`it has an unsupported group: (?${this.pattern.slice(this.at, this.at + 3)}`);
  }

  /** After `[`: a set of characters, which may hold others. */
  private set(): Part {
    this.take('^');
    if (this.peek(']')) refuse('a set begins with an unescaped ]');
    for (let open = 1; open > 0; this.at++) {
      const one = this.pattern[this.at];
      if (one === undefined) refuse('a set is not closed');
      else if (one === '\\') this.at++;
      else if (one === '[') {
        open++;
        if (/^\[\^?\]/.test(this.pattern.slice(this.at, this.at + 3)))
          refuse('a set begins with an unescaped ]');
      } else if (one === ']') open--;
    }
    return character();
  }

  /** After a backslash. */
  private escape(): Part {
    const rest = this.pattern.slice(this.at, this.at + 40);
    const found =
      /^(?:[pP]\{\^?\w+\}|x\{[0-9A-Fa-f]{1,8}\}|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|[dDwWsShHnrtfvae]|[bBAzZ]|[^\w\s]| )/.exec(
        rest,
      );
    if (!found) return refuse(`it has an unsupported escape: \\${rest.slice(0, 1)}`);
    this.at += found[0].length;
    if (/^[bBAzZ]$/.test(found[0])) return ANCHOR;
    return character(CONTROLS[found[0]] ?? (/^\W$/.test(found[0]) ? found[0] : undefined));
  }
}

/** One part after another. Where the second fails, a match steps back into the first and tries the second again. */
const follow = (a: Part, b: Part): Part => ({
  least: a.least + b.least,
  canFail: a.canFail || b.canFail,
  isFixed: a.isFixed && b.isFixed,
  choices: a.choices * b.choices,
  runs: a.runs + b.runs,
  degree: Math.max(a.degree, b.canFail ? a.runs + b.degree : b.degree),
  first: a.least > 0 ? a.first : undefined,
});

function repeat(part: Part, least: number, most: number, isPossessive: boolean): Part {
  const isOnce = most === 1;
  if (!isOnce && !part.isFixed) refuse('it repeats a part that can match in several ways');
  if (!isOnce && part.least === 0) refuse('it repeats a part that may match nothing');
  if (least * part.least > MOST_UNROLLED)
    refuse(`its repetitions take more than ${MOST_UNROLLED} characters`);
  const isRun = most - least > FEW;
  const ways = isPossessive || isRun ? 1 : (most - least + 1) * part.choices;
  return {
    least: least * part.least,
    canFail: least > 0 && part.canFail,
    isFixed: (least === most || isPossessive) && part.isFixed,
    choices: ways,
    runs: isPossessive ? 0 : isRun ? 1 : part.runs,
    degree: part.degree,
    first: least > 0 ? part.first : undefined,
  };
}

import { Cron } from "croner";
import { StillpointError } from "#libs/errors";
import { quote } from "#libs/names";

interface Field {
  readonly name: string;
  readonly takes: string;
}

const fields: readonly Field[] = [
  { name: "minute", takes: "0 to 59" },
  { name: "hour", takes: "0 to 23" },
  { name: "day of month", takes: "1 to 31, or L for the last" },
  { name: "month", takes: "1 to 12, or JAN to DEC" },
  { name: "day of week", takes: "0 to 7 (0 and 7 are Sunday), or SUN to SAT" },
];
const form =
  "Write five fields: minute, hour, day of month, month and day of week, such as '0 3 * * *' for 3:00 daily.";

/** Fails with ARGUMENT_INVALID, which says which field is wrong and where it stands, unless it is a cron expression. */
export function checkCron(text: string): void {
  const words = [...text.matchAll(/\S+/g)].map((match) => ({ text: match[0], column: match.index + 1 }));
  for (const [index, word] of words.slice(0, fields.length).entries()) checkField(text, index, word);
  const extra = words[fields.length];
  if (extra !== undefined) throw wrong(text, extra.column, `there is a sixth field, ${quote(extra.text)}`, form);
  const missing = fields[words.length];
  if (missing !== undefined) throw wrong(text, text.trimEnd().length + 1, `the field ${missing.name} is missing`, form);
  if (next(text) === null) {
    throw new StillpointError("ARGUMENT_INVALID", `the cron expression ${quote(text)} names a day that never comes`, {
      help: "Look at its day of month and month.",
      metadata: { field: "schedule.cron" },
    });
  }
}

interface Word {
  readonly text: string;
  /** From 1. */
  readonly column: number;
}

/** Each field is tried with all others open, so that what is wrong is known to be in it. */
function checkField(expression: string, index: number, { text, column }: Word): void {
  const field = fields[index];
  if (field === undefined) return;
  const { name, takes } = field;
  const help = `The ${name} takes ${takes}; also *, lists (1,15), ranges (1-5) and steps (*/10).`;
  const what = `field ${index + 1} (${name}) is ${quote(text)}`;
  // To cron libraries it means "now", which differs each time that the expression is read.
  if (text.includes("?")) throw wrong(expression, column, what, help);
  try {
    next(fields.map((_, at) => (at === index ? text : "*")).join(" "));
  } catch (cause) {
    throw wrong(expression, column, what, help, cause);
  }
}

const next = (expression: string): Date | null =>
  new Cron(expression.trim(), { mode: "5-part", timezone: "UTC", paused: true }).nextRun();

function wrong(text: string, column: number, what: string, help: string, cause?: unknown): StillpointError {
  return new StillpointError(
    "ARGUMENT_INVALID",
    `the cron expression ${quote(text)} is wrong at character ${column}: ${what}`,
    { help, metadata: { field: "schedule.cron", column: `${column}` }, ...(cause === undefined ? {} : { cause }) },
  );
}

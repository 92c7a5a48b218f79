/** One sample of an exposition. */
export interface TextSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface TextFamily {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram' | 'summary' | 'untyped';
  readonly samples: readonly TextSample[];
}

/**
 * Reads Prometheus' text format 0.0.4 by the letter (prometheus.io, Exposition formats; Writing client libraries; Metric and label naming), and
 * throws at whatever Prometheus, or `promtool check metrics`, would object to: no HELP, a name in two groups, a counter without `_total`, a
 * sample that is there twice, a unit that is no base unit, a last line without its end.
 */
export function parseExposition(text: string): readonly TextFamily[] {
  if (!text.endsWith('\n')) throw new Error('the last line does not end');
  const families: (TextFamily & { samples: TextSample[] })[] = [];
  let help: { readonly name: string; readonly text: string } | undefined;
  const seen = new Set<string>();
  for (const [index, line] of text.slice(0, -1).split('\n').entries()) {
    const wrong = (what: string): Error => new Error(`line ${index + 1}: ${what}: ${line}`);
    if (line === '') continue;
    const [, helpName, helpText] = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/u.exec(line) ?? [];
    if (helpName !== undefined) {
      if (families.some(({ name }) => name === helpName)) throw wrong('a name of an earlier group');
      if (/\\[^\\n]|\\$/u.test((helpText ?? '').replaceAll('\\\\', ''))) throw wrong('an unknown escape');
      if (helpText === '' || helpText?.endsWith('.') === true) throw wrong('HELP is a text without a full stop');
      help = { name: helpName, text: helpText ?? '' };
      continue;
    }
    const [, typeName, type] = /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram|summary|untyped)$/u.exec(line) ?? [];
    if (typeName !== undefined && type !== undefined) {
      if (help?.name !== typeName) throw wrong('TYPE without a HELP before it');
      checkName(typeName, type, wrong);
      families.push({ name: typeName, help: help.text, type: typeOf(type), samples: [] });
      continue;
    }
    if (line.startsWith('#')) throw wrong('a comment that is neither HELP nor TYPE');
    const family = families.at(-1);
    const sample = parseSample(line, wrong);
    const base =
      family?.type === 'histogram' || family?.type === 'summary' ? sample.name.replace(/_(bucket|sum|count)$/u, '') : sample.name;
    if (family === undefined || base !== family.name) throw wrong('a sample outside of its group');
    const key = `${sample.name}${JSON.stringify(Object.entries(sample.labels).toSorted(([one], [other]) => one.localeCompare(other)))}`;
    if (seen.has(key)) throw wrong('a sample that is there twice');
    seen.add(key);
    if (family.type === 'counter' && !(sample.value >= 0)) throw wrong('a counter below zero');
    family.samples.push(sample);
  }
  return families;
}

function checkName(name: string, type: string, wrong: (what: string) => Error): void {
  if ((type === 'counter') !== name.endsWith('_total')) throw wrong('"_total" is for counters, and every counter has it');
  if (/_(milliseconds|ms|microseconds|minutes|hours|kilobytes|kib|mb|mib|megabytes|percent)(_|$)/iu.test(name)) throw wrong('no base unit');
  if (name.includes(':')) throw wrong('colons are for recording rules');
}

function typeOf(text: string): TextFamily['type'] {
  const types = ['counter', 'gauge', 'histogram', 'summary', 'untyped'] as const;
  return types.find((type) => type === text) ?? 'untyped';
}

function parseSample(line: string, wrong: (what: string) => Error): TextSample {
  const [, name, body = '', value = ''] =
    /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})? (\S+)(?: -?\d+)?$/u.exec(line) ?? [];
  if (name === undefined) throw wrong('no sample');
  const number = value === '+Inf' ? Infinity : value === '-Inf' ? -Infinity : Number(value);
  if (value !== 'NaN' && Number.isNaN(number)) throw wrong('no number');
  const labels: Record<string, string> = {};
  let rest = body;
  while (rest !== '') {
    const [whole, label, text] = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,|$)/u.exec(rest) ?? [];
    if (whole === undefined || label === undefined || text === undefined) throw wrong('no label');
    if (label.startsWith('__')) throw wrong('labels with __ are for Prometheus itself');
    if (Object.hasOwn(labels, label)) throw wrong('a label that is there twice');
    labels[label] = text.replaceAll(/\\(.)/gu, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
    rest = rest.slice(whole.length);
  }
  return { name, labels, value: number };
}

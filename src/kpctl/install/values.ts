import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import { z } from 'zod';
import { readOptions } from '../../operator/injection/index.ts';
import { merge, parseValues, type GivenValues, type InstallValues } from '../../operator/manifests/index.ts';
import { ExitCode, Failure, messageOf } from '../../platform/errors.ts';

/** Where the values of an installation come from; later ones win. */
export interface ValueSources {
  /** YAML or JSON, in the form of the chart's values.yaml. */
  readonly files: readonly string[];
  /** `operator.replicas=3`; the value as YAML. */
  readonly set: readonly string[];
  /** `--registry`, `--image`, `--init-image`, `--pull-policy`. */
  readonly registry?: string | undefined;
  readonly image?: string | undefined;
  readonly initImage?: string | undefined;
  readonly pullPolicy?: string | undefined;
  /** `--gateway-replicas`. */
  readonly gatewayReplicas?: number | undefined;
}

/** Reads the values, and checks them. Failure INSTALL_VALUES (exit code 2) names everything that is wrong. */
export async function readValues(sources: ValueSources): Promise<InstallValues> {
  const files = await Promise.all(sources.files.map(async (path) => await readFileOfValues(path)));
  const settings = sources.set.map((text) => parseSetting(text));
  const given = (texts: ReadonlySet<Setting>): GivenValues[] => [
    ...files,
    ...settings.map((setting) => atPath(setting.path, texts.has(setting) ? setting.text : setting.value)),
    optionValues(sources),
  ];
  try {
    return checked(parseValues(...given(new Set())));
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error;
    // `--set injection.defaults.cpu-limit=1`: YAML sees a number where a text is wanted.
    const texts = settings.filter(({ path }) =>
      error.issues.some((issue) => wantsText(issue) && issue.path.join('\0') === path.join('\0')),
    );
    if (texts.length === 0) throw wrong(problemsOf(error));
    try {
      return checked(parseValues(...given(new Set(texts))));
    } catch (second) {
      throw second instanceof z.ZodError ? wrong(problemsOf(second)) : second;
    }
  }
}

/** The options of every pod are checked here rather than at each pod. */
function checked(values: InstallValues): InstallValues {
  try {
    readOptions([{ whose: 'the values', prefix: '', values: values.injection.defaults }]);
  } catch (error) {
    throw error instanceof Failure ? wrong(`injection.defaults: ${error.message}`) : error;
  }
  return values;
}

const mapSchema = z.record(z.string(), z.unknown());

async function readFileOfValues(path: string): Promise<GivenValues> {
  try {
    const parsed: unknown = parse(await readFile(path, 'utf8'));
    return parsed === null ? {} : mapSchema.parse(parsed);
  } catch (error) {
    throw wrong(`the file ${path} cannot be read: ${error instanceof z.ZodError ? 'it is not a map of values' : messageOf(error)}`);
  }
}

interface Setting {
  readonly path: readonly string[];
  readonly text: string;
  readonly value: unknown;
}

/** As Helm writes it: `a.b=c`; a dot that belongs to a key has `\` before it. */
function parseSetting(setting: string): Setting {
  const equals = setting.indexOf('=');
  if (equals < 1) throw wrong(`--set: expected PATH=VALUE, as in operator.replicas=3, and not "${setting}"`);
  const path = setting
    .slice(0, equals)
    .split(/(?<!\\)\./u)
    .map((key) => key.replaceAll('\\.', '.'));
  const text = setting.slice(equals + 1);
  try {
    const value: unknown = text === '' ? '' : parse(text);
    return { path, text, value };
  } catch {
    return { path, text, value: text };
  }
}

function atPath([key = '', ...rest]: readonly string[], value: unknown): GivenValues {
  return { [key]: rest.length === 0 ? value : atPath(rest, value) };
}

function optionValues({ registry, image, initImage, pullPolicy, gatewayReplicas }: ValueSources): GivenValues {
  const images = { ...(image !== undefined && { kpeering: image }), ...(initImage !== undefined && { init: initImage }) };
  return merge(
    { images },
    {
      ...(registry !== undefined && { registry }),
      ...(pullPolicy !== undefined && { pullPolicy }),
      ...(gatewayReplicas !== undefined && { gateway: { replicas: gatewayReplicas } }),
    },
  );
}

function wantsText(issue: z.core.$ZodIssue): boolean {
  return issue.code === 'invalid_type' && issue.expected === 'string';
}

function problemsOf({ issues }: z.ZodError): string {
  return issues.map(({ path, message }) => `${path.length === 0 ? '' : `${path.join('.')}: `}${message}`).join('; ');
}

function wrong(what: string): Failure {
  return new Failure('INSTALL_VALUES', what, { remedy: 'deploy/chart/values.yaml has every value', exitCode: ExitCode.usage });
}

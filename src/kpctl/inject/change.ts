import { INJECT_LABEL, OPTION_PREFIX, optionNames, readOptions, type OptionName } from '../../operator/injection/index.ts';
import type { Templated } from '../../cluster/templates.ts';
import { nearNames } from '../../cluster/near-names.ts';
import { ExitCode, Failure } from '../../platform/errors.ts';

type Entries = Readonly<Record<string, string>>;

/** Labels and annotations of a pod template that are to be set; null: to be taken away. */
export interface TemplateChange {
  readonly labels: Readonly<Record<string, string | null>>;
  readonly annotations: Readonly<Record<string, string | null>>;
}

/** Options by their names without `kpeering.io/`; undefined: taken away. */
export type GivenOptions = Readonly<Partial<Record<OptionName, string | undefined>>>;

/** kubectl's own: what `kubectl rollout restart` changes in a template to have its pods made anew. */
const RESTARTED_ANNOTATION = 'kubectl.kubernetes.io/restartedAt';

/** Reads `--set option=value`; `option=` takes an option away. Failures USAGE and INJECT_OPTION (exit code 2) name what is wrong. */
export function parseOptions(texts: readonly string[]): GivenOptions {
  const given: Partial<Record<OptionName, string | undefined>> = {};
  for (const text of texts) {
    const [, written = '', value = ''] = /^([^=]*)=(.*)$/s.exec(text) ?? [];
    if (written === '') throw usage(`--set takes OPTION=VALUE, and "${text}" is not that`, 'as in --set mode=redirect');
    const wanted = written.startsWith(OPTION_PREFIX) ? written.slice(OPTION_PREFIX.length) : written;
    const name = optionNames.find((known) => known === wanted);
    if (name === undefined) {
      const near = nearNames(wanted, optionNames);
      throw usage(`there is no option "${written}"`, `the options are ${(near.length > 0 ? near : optionNames).join(', ')}`);
    }
    given[name] = value === '' ? undefined : value;
  }
  try {
    readOptions([{ whose: '--set', prefix: '', values: given }]);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    throw new Failure(error.code, error.message, { ...(error.remedy !== undefined && { remedy: error.remedy }), exitCode: ExitCode.usage });
  }
  return given;
}

/** What has to change in a template for its pods to be injected with these options. */
export function changeForInjection(template: Templated['spec']['template'], options: GivenOptions): TemplateChange {
  const { labels, annotations } = template.metadata;
  const wanted = optionNames.flatMap((name): [string, string | null][] =>
    name in options ? [[OPTION_PREFIX + name, options[name] ?? null]] : [],
  );
  return { labels: differing(labels, { [INJECT_LABEL]: 'enabled' }), annotations: differing(annotations, Object.fromEntries(wanted)) };
}

/**
 * What has to change for its pods not to be injected, with no trace of kpeering left. `byNamespace`: their namespace's label asks for injection
 * (or nobody may know), so that the template has to say no.
 */
export function changeForEjection(template: Templated['spec']['template'], byNamespace: boolean): TemplateChange {
  const { labels, annotations } = template.metadata;
  const ours = Object.keys(annotations).filter((key) => key.startsWith(OPTION_PREFIX));
  return {
    labels: differing(labels, { [INJECT_LABEL]: byNamespace ? 'disabled' : null }),
    annotations: Object.fromEntries(ours.map((key) => [key, null])),
  };
}

/** Makes a workload's controller make its pods anew, although nothing else in the template changes. */
export function changeForRestart(now: Date): TemplateChange {
  return { labels: {}, annotations: { [RESTARTED_ANNOTATION]: now.toISOString() } };
}

export function isEmpty({ labels, annotations }: TemplateChange): boolean {
  return Object.keys(labels).length === 0 && Object.keys(annotations).length === 0;
}

/** As a merge patch (RFC 7386) of the workload. */
export function patchOf({ labels, annotations }: TemplateChange): Readonly<Record<string, unknown>> {
  const metadata = {
    ...(Object.keys(labels).length > 0 && { labels }),
    ...(Object.keys(annotations).length > 0 && { annotations }),
  };
  return { spec: { template: { metadata } } };
}

/** The template as it is after the change. */
export function changed(template: Templated['spec']['template'], change: TemplateChange): Templated['spec']['template'] {
  const { metadata } = template;
  return {
    ...template,
    metadata: {
      ...metadata,
      labels: merged(metadata.labels, change.labels),
      annotations: merged(metadata.annotations, change.annotations),
    },
  };
}

function merged(entries: Entries, change: Readonly<Record<string, string | null>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries({ ...entries, ...change }).flatMap(([key, value]) => (value === null ? [] : [[key, value] as const])),
  );
}

function differing(present: Entries, wanted: Readonly<Record<string, string | null>>): Record<string, string | null> {
  return Object.fromEntries(Object.entries(wanted).filter(([key, value]) => (present[key] ?? null) !== value));
}

function usage(what: string, remedy: string): Failure {
  return new Failure('USAGE', what, { remedy, exitCode: ExitCode.usage });
}

import { z } from 'zod';
import { ExitCode, Failure } from '../platform/errors.ts';
import { optionNames, readOptions, type InjectionSettings, type OptionName } from './injection/index.ts';

/** What the operator is installed with, in the variable KPEERING_SETTINGS of its container, as JSON. */
export const operatorSettingsSchema = z.strictObject({
  images: z.strictObject({ init: z.string().min(1), sidecar: z.string().min(1) }),
  pullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']),
  /** Names of Secrets in the injected pods' own namespaces, for the two images. */
  imagePullSecrets: z.array(z.string().min(1)).default([]),
  /** Beside kube-system and the operator's own namespace, which always are. */
  excludedNamespaces: z.array(z.string().min(1)).default([]),
  /** Options for every pod: `{"mode": "redirect"}`. */
  defaults: z.partialRecord(z.enum(optionNames), z.string()).default({}),
});
export type OperatorSettings = z.infer<typeof operatorSettingsSchema>;

/** Reads KPEERING_SETTINGS. Throws a Failure `OPERATOR_SETTINGS` that names everything that is wrong in it. */
export function parseSettings(text: string | undefined): OperatorSettings {
  if (text === undefined || text === '') throw wrong('KPEERING_SETTINGS is not set');
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw wrong(`KPEERING_SETTINGS is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  const parsed = operatorSettingsSchema.safeParse(json);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => `${path.length === 0 ? '' : `${path.join('.')}: `}${message}`);
    throw wrong(`KPEERING_SETTINGS: ${problems.join('; ')}`);
  }
  checkDefaults(parsed.data.defaults);
  return parsed.data;
}

/** What injection decides by: the settings, and what the cluster can do. `namespace`: the operator's own. */
export function injectionSettings(settings: OperatorSettings, namespace: string, nativeSidecars: boolean): InjectionSettings {
  const { images, pullPolicy, imagePullSecrets, defaults } = settings;
  return { images, pullPolicy, imagePullSecrets, nativeSidecars, defaults, excludedNamespaces: excludedNamespaces(settings, namespace) };
}

/** The namespaces whose pods are never injected; the webhook's selectors leave out the same ones. */
export function excludedNamespaces(
  { excludedNamespaces: more }: Pick<OperatorSettings, 'excludedNamespaces'>,
  namespace: string,
): readonly string[] {
  return [...new Set(['kube-system', namespace, ...more])];
}

/** A default that is wrong would be found wrong in every pod. */
function checkDefaults(defaults: Readonly<Partial<Record<OptionName, string>>>): void {
  try {
    readOptions([{ whose: 'KPEERING_SETTINGS', prefix: '', values: defaults }]);
  } catch (error) {
    throw error instanceof Failure ? wrong(`KPEERING_SETTINGS: defaults: ${error.message}`) : error;
  }
}

function wrong(what: string): Failure {
  return new Failure('OPERATOR_SETTINGS', what, {
    likely: 'the Deployment kpeering-operator was changed by hand',
    remedy: 'set it by kpctl install or the Helm chart',
    exitCode: ExitCode.usage,
  });
}

import { version } from '../../platform/version.ts';
import { PART_OF_LABELS } from '../names.ts';
import { manager, type TreeMap } from './expressions.ts';

/** The parts of an installation. */
export type Component = 'operator' | 'gateway' | 'access' | 'namespace';

export const COMPONENT_LABEL = 'app.kubernetes.io/component';
export const MANAGED_BY_LABEL = 'app.kubernetes.io/managed-by';
export const VERSION_LABEL = 'app.kubernetes.io/version';

/** Of everything that is installed (kubernetes.io, Recommended Labels). By managed-by an update knows what an older version has installed. */
export function labelsOf(component: Component): TreeMap {
  return {
    'app.kubernetes.io/name': 'kpeering',
    [COMPONENT_LABEL]: component,
    ...PART_OF_LABELS,
    [VERSION_LABEL]: version,
    [MANAGED_BY_LABEL]: manager,
  };
}

/** Of a component's pods. Neither version nor manager: who changes only those restarts nothing. */
export function podLabels(component: Component): Readonly<Record<string, string>> {
  return { 'app.kubernetes.io/name': 'kpeering', [COMPONENT_LABEL]: component, ...PART_OF_LABELS, ...selectorLabels(component) };
}

/** By which a Deployment knows its pods: these can never be changed. */
export function selectorLabels(component: Component): Readonly<Record<string, string>> {
  return { 'kpeering.io/role': component };
}

import test from 'ava';
import { injectionSettings, parseSettings } from '../../../src/operator/settings.ts';
import { Failure } from '../../../src/platform/errors.ts';

const images = { init: 'kpeering/init:1', sidecar: 'kpeering/kpeering:1' };

function messageOf(text: string | undefined): string {
  try {
    parseSettings(text);
    return '';
  } catch (error) {
    if (error instanceof Failure && error.code === 'OPERATOR_SETTINGS') return error.message;
    throw error;
  }
}

test('images and a pull policy are enough', (t) => {
  t.deepEqual(parseSettings(JSON.stringify({ images, pullPolicy: 'Always' })), {
    images,
    pullPolicy: 'Always',
    imagePullSecrets: [],
    excludedNamespaces: [],
    defaults: {},
  });
});

test('settings that are missing or no JSON are reported as such', (t) => {
  t.is(messageOf(undefined), 'KPEERING_SETTINGS is not set');
  t.regex(messageOf('{'), /^KPEERING_SETTINGS is not JSON: /u);
});

test('each wrong field is named, and so is an unknown one', (t) => {
  const message = messageOf(JSON.stringify({ images: { init: 1, sidecar: 'x' }, pullPolicy: 'Sometimes', image: 'x' }));
  t.regex(message, /images\.init: /u);
  t.regex(message, /pullPolicy: /u);
  t.regex(message, /"image"/u);
});

test('a default that no pod could have is found at the start, and not pod by pod', (t) => {
  t.regex(
    messageOf(JSON.stringify({ images, pullPolicy: 'Always', defaults: { mode: 'fast' } })),
    /mode of KPEERING_SETTINGS: "fast" is not one of/u,
  );
  t.regex(messageOf(JSON.stringify({ images, pullPolicy: 'Always', defaults: { speed: 'fast' } })), /defaults/u);
});

test('kube-system and the own namespace are never injected, whatever the settings say', (t) => {
  const settings = parseSettings(JSON.stringify({ images, pullPolicy: 'Always', excludedNamespaces: ['kube-system', 'vault'] }));
  t.deepEqual(injectionSettings(settings, 'kp', true).excludedNamespaces, ['kube-system', 'kp', 'vault']);
});

import { z } from 'zod';
import { defineResource, listOf, metadataSchema, optionalText } from './resource.ts';

/** `admissionregistration.k8s.io/v1 MutatingWebhookConfiguration`: whom the API server calls, and which authorities it trusts there. */
export const mutatingWebhookConfigurationSchema = z.object({
  metadata: metadataSchema,
  webhooks: listOf(
    z.object({
      name: z.string(),
      clientConfig: z.object({
        /** PEM in base64. */
        caBundle: optionalText,
        service: z
          .object({ namespace: z.string(), name: z.string() })
          .nullish()
          .transform((service) => service ?? undefined),
      }),
    }),
  ),
});
export type MutatingWebhookConfiguration = z.infer<typeof mutatingWebhookConfigurationSchema>;
export const mutatingWebhookConfigurations = defineResource<MutatingWebhookConfiguration>(
  {
    kind: 'MutatingWebhookConfiguration',
    plural: 'mutatingwebhookconfigurations',
    group: 'admissionregistration.k8s.io',
    version: 'v1',
    namespaced: false,
  },
  mutatingWebhookConfigurationSchema,
);

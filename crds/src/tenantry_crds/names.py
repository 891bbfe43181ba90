"""The names that are fixed: group, kinds, labels, annotations. Plain constants, so that every room can import them."""

GROUP = "tenantry.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
CATEGORY = "tenantry"

SYSTEM_NAMESPACE = "tenantry-system"
LEASE_NAME = "tenantry-operator"
SERVICE_ACCOUNT = "tenantry-operator"
"""Of the operator, in its namespace."""
FIELD_MANAGER = "tenantry"
FINALIZER = f"{GROUP}/finalizer"

TENANTS_CRD = f"tenants.{GROUP}"

LABEL_TENANT = f"{GROUP}/tenant"
# Of a Tenant: which operator looks after it, where there are several.
LABEL_SHARD = f"{GROUP}/shard"
LABEL_DATABASE_SERVER = f"{GROUP}/database-server"
LABEL_SERVICE_DEPLOYMENT = f"{GROUP}/service-deployment"
LABEL_REVISION = f"{GROUP}/revision"

# Lets a Tenant go that can never leave in good order; its value is the Tenant's very uid.
ANNOTATION_FORCE_FINALIZE = f"{GROUP}/force-finalize"
# The uid of the object that a Secret was made for: a Secret of the right name but of another uid is not ours.
ANNOTATION_OWNER_UID = f"{GROUP}/owner-uid"
# On a namespace that outlived its Tenant: `released`. The next Tenant of its name may have it.
ANNOTATION_STATE = f"{GROUP}/state"
ANNOTATION_PASSWORD_APPLIED = f"{GROUP}/password-applied"

# How a MigrationRun ended. Without it the run is looked at again from what the schemas say.
ANNOTATION_ENDED = f"{GROUP}/ended"

# Of a Tenant: any new value asks for a rotation.
ANNOTATION_ROTATE = f"{GROUP}/rotate"
# Of a Tenant's Secret: when its credentials were last replaced, until when the ones before them work, and which value
# of the annotation above was honoured.
ANNOTATION_ROTATED_AT = f"{GROUP}/rotated-at"
ANNOTATION_PREVIOUS_EXPIRES_AT = f"{GROUP}/previous-expires-at"
ANNOTATION_ROTATED_FOR = f"{GROUP}/rotated-for"

# Of the Job that backs a Tenant up: where it writes to.
ANNOTATION_DESTINATION = f"{GROUP}/destination"

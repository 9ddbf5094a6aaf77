//! The flow `directory` with its connectors, as configured, and those that its callbacks are passed on to.

use std::sync::Arc;

use configuration::{Config, DepartmentText, DirectoryTarget};
use connector_espocrm::{Credentials, EspoCrm};
use connector_scim::{Overrides, Scim, Sizes};
use connector_wecom::WeCom;
use connector_wecom::callback::Receiver;
use flows::directory::espocrm::{self, Country, EspoTarget};
use flows::directory::flow::{DirectoryFlow, DirectoryParts};
use flows::directory::member::ActiveRule;
use flows::directory::rules::{GroupNames, Hierarchy, Leavers, Login, Rules};
use flows::directory::scim::ScimTarget;
use flows::directory::settings::DirectorySettings;
use flows::directory::target::Target;
use flows::directory::wecom::{VaultShelf, WeComSource};
use flows::relay::{RelayFlow, RelaySettings};
use shared::clock::Clock;
use shared::flow::Flow;
use shared::meter::Meter;
use shared::ports::PortError;
use shared::ports::state::State;
use vault::Secrets;

use crate::parties::{limits, wrong};

/// What the flow is made of beside its settings.
pub(crate) struct Beside {
    pub(crate) secrets: Secrets,
    pub(crate) state: Arc<dyn State>,
    pub(crate) meter: Arc<dyn Meter>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The flow, where it is enabled.
pub(crate) fn build(config: &Config, beside: &Beside) -> Result<Option<Arc<DirectoryFlow>>, PortError> {
    let (Some(settings), Some(company)) = (&config.flow.directory, &config.connector.wecom) else {
        return Ok(None);
    };
    let (target, rules) = target(config, settings, beside)?;
    let settings_of_flow = DirectorySettings {
        lease_ttl: config.worker.lease,
        ..settings_of(settings, rules_of(settings, rules))
    };
    let callback = company.callback.as_ref();
    let callbacks = callback.map(|callback| {
        let receiver = Receiver::new(&callback.token, &callback.encoding_aes_key, &company.corp_id);
        receiver.map_err(|error| wrong(format!("connector.wecom: {error}")))
    });
    let parts = DirectoryParts {
        settings: settings_of_flow,
        source: Arc::new(WeComSource::new(wecom(company, beside)?)),
        target,
        callbacks: callbacks.transpose()?,
        state: beside.state.clone(),
        meter: beside.meter.clone(),
    };
    let flow = DirectoryFlow::new(parts).map_err(|why| wrong(format!("flow.directory: {why}")))?;
    Ok(Some(Arc::new(flow)))
}

/// The flows of those that its callbacks are passed on to.
pub(crate) fn relays(config: &Config, beside: &Beside) -> Result<Vec<Arc<dyn Flow>>, PortError> {
    let relays = config.flow.directory.iter().flat_map(|directory| &directory.relays);
    let flow = |(name, settings): (&String, &configuration::Relay)| {
        let settings = RelaySettings {
            name: name.clone(),
            url: settings.url.clone(),
            shards: settings.shards,
            retry: settings.retry.clone(),
            run_time_max: settings.run_time_max,
            limits: limits(&settings.limits),
        };
        let (state, meter, clock) = (beside.state.clone(), beside.meter.clone(), beside.clock.clone());
        let flow = RelayFlow::new(settings, state, meter, clock);
        let flow = flow.map_err(|why| wrong(format!("flow.directory.relay.{name}: {why}")))?;
        Ok(Arc::new(flow) as Arc<dyn Flow>)
    };
    relays.map(flow).collect()
}

/// The company in WeCom, as the whole fleet sees it.
fn wecom(settings: &configuration::WeCom, beside: &Beside) -> Result<WeCom, PortError> {
    let settings = connector_wecom::Settings {
        url: settings.api_url.clone(),
        corp_id: settings.corp_id.clone(),
        app_secret: settings.app_secret.clone(),
        contact_sync_secret: settings.contact_sync_secret.clone(),
        limits: limits(&settings.limits),
        fleet: Some(beside.state.clone()),
        shelf: Arc::new(VaultShelf::new(beside.secrets.clone())),
    };
    WeCom::new(&settings, beside.meter.clone(), beside.clock.clone())
        .map_err(|error| wrong(format!("connector.wecom: {error}")))
}

/// The target, and what it makes of the plans before the settings are asked.
fn target(
    config: &Config,
    settings: &configuration::Directory,
    beside: &Beside,
) -> Result<(Arc<dyn Target>, Rules), PortError> {
    let hierarchy = hierarchy(settings.hierarchy);
    match settings.target {
        DirectoryTarget::Scim => {
            let absent = || wrong("connector.scim: flow.directory needs it with target = \"scim\"");
            let service = config.connector.scim.as_ref().ok_or_else(absent)?;
            let has_enterprise = service.abilities.enterprise != Some(false);
            let target = ScimTarget::new(scim(service, beside)?, beside.state.clone(), has_enterprise);
            let rules = Rules {
                without: target.without(),
                batch_max: service.members_max,
                ..Rules::default().with_hierarchy(hierarchy)
            };
            Ok((Arc::new(target), rules))
        }
        DirectoryTarget::EspoCrm => {
            let absent = || wrong("connector.espocrm: flow.directory needs it with target = \"espocrm\"");
            let account = config.connector.espocrm_admin.as_ref().ok_or_else(absent)?;
            let unknown = || wrong(format!("flow.directory.country: {} is no country", settings.country));
            let country = Country::new(&settings.country).ok_or_else(unknown)?;
            let target = EspoTarget::new(administrator(account, beside)?, country).map_err(wrong)?;
            Ok((Arc::new(target), espocrm::rules(hierarchy, country)))
        }
    }
}

fn scim(settings: &configuration::Scim, beside: &Beside) -> Result<Scim, PortError> {
    let abilities = settings.abilities;
    let settings = connector_scim::Settings {
        url: settings.url.clone(),
        token: settings.token.clone(),
        limits: limits(&settings.limits),
        fleet: Some(beside.state.clone()),
        overrides: Overrides {
            patch: abilities.patch,
            bulk: abilities.bulk,
            filter: abilities.filter,
            sort: abilities.sort,
            etag: abilities.etag,
            groups: abilities.groups,
            enterprise: abilities.enterprise,
        },
        sizes: Sizes {
            page_resources_max: settings.page_resources_max,
            members_max: settings.members_max,
            bulk_operations_max: settings.bulk_operations_max,
            parallel_max: settings.parallel_max,
        },
    };
    Scim::new(settings, beside.meter.clone(), beside.clock.clone())
        .map_err(|error| wrong(format!("connector.scim: {error}")))
}

fn administrator(settings: &configuration::EspoCrmAdmin, beside: &Beside) -> Result<EspoCrm, PortError> {
    let credentials =
        Credentials::Password { user_name: settings.user.clone(), password: settings.password.clone() };
    let settings = connector_espocrm::Settings {
        url: settings.url.clone(),
        credentials,
        limits: limits(&settings.limits),
        fleet: Some(beside.state.clone()),
    };
    EspoCrm::new(settings, beside.meter.clone(), beside.clock.clone())
        .map_err(|error| wrong(format!("connector.espocrm: {error}")))
}

fn hierarchy(hierarchy: configuration::Hierarchy) -> Hierarchy {
    match hierarchy {
        configuration::Hierarchy::Nested => Hierarchy::Nested,
        configuration::Hierarchy::Flat => Hierarchy::Flat,
        configuration::Hierarchy::Rollup => Hierarchy::Rollup,
    }
}

fn names(text: DepartmentText) -> GroupNames {
    match text {
        DepartmentText::Name => GroupNames::Name,
        DepartmentText::Path => GroupNames::Path,
    }
}

/// What the settings say, over what the target makes of it.
fn rules_of(settings: &configuration::Directory, of_target: Rules) -> Rules {
    let mut double_surnames = of_target.double_surnames.clone();
    double_surnames.extend(settings.double_surnames.iter().cloned());
    Rules {
        hierarchy: hierarchy(settings.hierarchy),
        group_names: names(settings.group_names),
        name_chars_max: settings.group_name_chars_max,
        active: ActiveRule { not_activated: settings.not_activated_is_active },
        leavers: match settings.leavers {
            configuration::Leavers::Deactivate => Leavers::Deactivate,
            configuration::Leavers::Delete => Leavers::Delete,
        },
        login: match settings.login {
            configuration::Login::Userid => Login::Userid,
            configuration::Login::Mail => Login::Mail,
            configuration::Login::Mobile => Login::Mobile,
        },
        creates_users: settings.create_users,
        double_surnames,
        user_department: settings.user_department.map(names),
        user_division: settings.user_division,
        employee_number: settings.employee_number_attribute.clone(),
        invisible_again: settings.invisible_again,
        settled_after: settings.settled_after,
        ..of_target
    }
}

fn settings_of(settings: &configuration::Directory, rules: Rules) -> DirectorySettings {
    let flat = |text| Rules { hierarchy: Hierarchy::Flat, group_names: names(text), ..rules.clone() };
    DirectorySettings {
        unless_nested: settings.flat_group_names.map(flat),
        shards: settings.shards,
        retry: settings.retry.clone(),
        run_time_max: settings.run_time_max,
        rules,
        mass_change_share_max: settings.mass_change_share_max,
        mass_change_count_min: settings.mass_change_count_min,
        first_sync_concurrency_max: settings.first_sync_concurrency_max,
        relays: settings.relays.values().map(|relay| relay.flow.clone()).collect(),
        ..DirectorySettings::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO_SCIM: &str = "[connector.wecom]\ncorp_id = \"ww1\"\napp_secret = \"env:S\"\n[connector.scim]\n\
        url = \"https://scim.example/v2\"\ntoken = \"env:S\"\n[flow.directory]\nenabled = true\n";

    fn config(text: &str) -> Config {
        Config::from_text("test.toml", text, [("S".to_owned(), "secret".to_owned())]).unwrap()
    }

    #[test]
    fn the_defaults_are_the_flows_own() {
        let config = config(TO_SCIM);
        let settings = config.flow.directory.as_ref().unwrap();
        let ours = settings_of(settings, rules_of(settings, Rules::default()));
        let flat = Rules::default().with_hierarchy(Hierarchy::Flat);
        let expected = DirectorySettings { unless_nested: Some(flat), ..DirectorySettings::default() };
        assert_eq!(format!("{ours:?}"), format!("{expected:?}"));
        let (wecom, scim) =
            (config.connector.wecom.as_ref().unwrap(), config.connector.scim.as_ref().unwrap());
        assert_eq!(limits(&wecom.limits), connector_wecom::default_limits());
        assert_eq!(limits(&scim.limits), connector_scim::default_limits());
        let sizes = Sizes::default();
        assert_eq!(
            (scim.page_resources_max, scim.members_max, scim.bulk_operations_max, scim.parallel_max),
            (sizes.page_resources_max, sizes.members_max, sizes.bulk_operations_max, sizes.parallel_max)
        );
    }

    #[test]
    fn the_defaults_of_a_receiver_are_its_flows_own() {
        let text = TO_SCIM.replace(
            "[connector.scim]",
            "callback_token = \"env:S\"\ncallback_encoding_aes_key = \"env:K\"\n[connector.scim]",
        );
        let text = format!("{text}[flow.directory.relay.oa]\nurl = \"https://oa.example/wecom\"\n");
        let key = "abcdefghijABCDEFGHIJ0123456789abcdefghij012";
        let environment = [("S", "secret"), ("K", key)].map(|(name, it)| (name.to_owned(), it.to_owned()));
        let config = Config::from_text("test.toml", &text, environment).unwrap();
        let relay = &config.flow.directory.as_ref().unwrap().relays["oa"];
        assert_eq!(limits(&relay.limits), flows::relay::default_limits());
        assert!(relay.flow.as_str().starts_with(flows::relay::PREFIX));
        let settings = config.flow.directory.as_ref().unwrap();
        assert_eq!(settings_of(settings, Rules::default()).relays, std::slice::from_ref(&relay.flow));
    }

    #[test]
    fn what_the_settings_say_goes_before_what_the_target_has() {
        let config = config(&format!(
            "{TO_SCIM}hierarchy = \"rollup\"\nlogin = \"mail\"\ndouble_surnames = \"纳兰\"\n"
        ));
        let settings = config.flow.directory.as_ref().unwrap();
        let rules = rules_of(settings, Rules { batch_max: 7, ..Rules::default() });
        assert_eq!((rules.hierarchy, rules.group_names), (Hierarchy::Rollup, GroupNames::Path));
        assert_eq!((rules.login, rules.batch_max), (Login::Mail, 7));
        assert!(rules.double_surnames.contains("纳兰") && rules.double_surnames.contains("欧阳"));
    }
}

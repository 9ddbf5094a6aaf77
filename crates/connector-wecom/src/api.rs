//! The interfaces that are used: WeCom counts and limits the calls of each by itself.

use crate::Secret;

/// One interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    DepartmentList,
    DepartmentIds,
    Department,
    MemberNames,
    Members,
    Member,
    MemberIds,
    CallbackAddresses,
}

impl Api {
    /// All but the token's.
    pub(crate) const ALL: [Self; 8] = [
        Self::DepartmentList,
        Self::DepartmentIds,
        Self::Department,
        Self::MemberNames,
        Self::Members,
        Self::Member,
        Self::MemberIds,
        Self::CallbackAddresses,
    ];

    /// Its path.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::DepartmentList => "department/list",
            Self::DepartmentIds => "department/simplelist",
            Self::Department => "department/get",
            Self::MemberNames => "user/simplelist",
            Self::Members => "user/list",
            Self::Member => "user/get",
            Self::MemberIds => "user/list_id",
            Self::CallbackAddresses => "getcallbackip",
        }
    }

    /// Its name in faults, metrics and logs.
    pub(crate) fn system(self) -> &'static str {
        match self {
            Self::DepartmentList => "wecom_department_list",
            Self::DepartmentIds => "wecom_department_simplelist",
            Self::Department => "wecom_department_get",
            Self::MemberNames => "wecom_user_simplelist",
            Self::Members => "wecom_user_list",
            Self::Member => "wecom_user_get",
            Self::MemberIds => "wecom_user_list_id",
            Self::CallbackAddresses => "wecom_getcallbackip",
        }
    }

    /// With which secrets it may be called, the better one first. The contact sync sees all ids and, since 2022-08-15,
    /// nothing else; an older one may still read names, which is tried where there is no app.
    pub(crate) fn secrets(self) -> &'static [Secret] {
        match self {
            Self::MemberIds => &[Secret::ContactSync],
            Self::DepartmentIds => &[Secret::ContactSync, Secret::App],
            Self::DepartmentList
            | Self::Department
            | Self::MemberNames
            | Self::Members
            | Self::Member
            | Self::CallbackAddresses => &[Secret::App, Secret::ContactSync],
        }
    }
}
